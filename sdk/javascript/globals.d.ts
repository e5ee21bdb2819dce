/** What a policy finds beside the language itself; name it in tsconfig.json: `"types": ["flocker-sdk/globals"]`. */

/** Leads to the node's log. */
declare var console: Record<"debug" | "log" | "info" | "warn" | "error", (...values: unknown[]) => void>;
