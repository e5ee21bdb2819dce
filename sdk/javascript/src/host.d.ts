// What exists only inside a component: the host's log.
declare module "flocker:plugin/log@0.1.0" {
  type Level = "trace" | "debug" | "info" | "warn" | "error";
  const log: { write(at: Level, message: string, fields: [string, string][]): void };
  export default log;
}
