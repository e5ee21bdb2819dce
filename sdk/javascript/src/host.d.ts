// What exists only inside a component: the host's log, and its console.
declare module "flocker:plugin/log@0.1.0" {
  type Level = "trace" | "debug" | "info" | "warn" | "error";
  const log: { write(at: Level, message: string, fields: [string, string][]): void };
  export default log;
}

declare const console: Record<"debug" | "log" | "info" | "warn" | "error", (...values: unknown[]) => void>;
