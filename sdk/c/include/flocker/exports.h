/* How a hook is exported. A component is asked only what it exports, so these stand in the author's file, by macros. */
#ifndef FLOCKER_EXPORTS_H
#define FLOCKER_EXPORTS_H

/* `flocker_score score(flocker_node node, const flocker_request *request)`: how good a node would be. */
#define FLOCKER_PLACEMENT(score) \
    static void flocker_score_each(const flocker_node *nodes, size_t n, const flocker_request *request, flocker_score *scores) \
    { for (size_t i = 0; i < n; i++) scores[i] = score(nodes[i], request); } \
    FLOCKER_PLACEMENT_ALL(flocker_score_each)

/* `void score(const flocker_node *nodes, size_t n, const flocker_request *request, flocker_score *scores)`: the same for
 * all candidates at once, for policies that compare nodes. Every score has to be filled in. */
#define FLOCKER_PLACEMENT_ALL(score) \
    FLOCKER_EXPORT("placement@0.1.0#evaluate", uint8_t *) flocker_export_evaluate(uint8_t *arguments) \
    { flocker_hook_placement = score; return __wasm_export_exports_flocker_plugin_placement_evaluate(arguments); } \
    FLOCKER_EXPORT_DONE("placement@0.1.0#evaluate", evaluate, placement_evaluate)

/* `size_t plan(const flocker_app *movable, size_t n, flocker_move *moves, size_t moves_max)`: which apps had better be
 * elsewhere. Answers how many moves it has written. Only apps in `movable` may be moved, each once. */
#define FLOCKER_REBALANCE(plan) \
    FLOCKER_EXPORT("rebalance@0.1.0#plan", uint8_t *) flocker_export_plan(FLOCKER_CONTEXT, uint8_t *p, size_t n, int32_t max) \
    { flocker_hook_rebalance = plan; return __wasm_export_exports_flocker_plugin_rebalance_plan(FLOCKER_PASS, p, n, max); } \
    FLOCKER_EXPORT_DONE("rebalance@0.1.0#plan", plan, rebalance_plan)

/* `flocker_verdict decide(const flocker_incident *incident, flocker_volume volume)`: what becomes of a volume of a node
 * that is silent. Nothing is promoted before the node is fenced and enough others agree, whatever the answer. */
#define FLOCKER_FAILOVER(decide) \
    FLOCKER_EXPORT("failover@0.1.0#decide", uint8_t *) flocker_export_decide(uint8_t *arguments) \
    { flocker_hook_failover = decide; return __wasm_export_exports_flocker_plugin_failover_decide(arguments); } \
    FLOCKER_EXPORT_DONE("failover@0.1.0#decide", decide, failover_decide)

/* `void due(flocker_volume volume, uint64_t now_ms, uint64_t horizon_ms)`: calls flocker_due for what is due until
 * `now_ms + horizon_ms`. `void prune(flocker_volume volume, const char *lane, const flocker_copy *copies, size_t n, uint64_t
 * now_ms)`: calls flocker_drop for the copies of a lane that may go, oldest first in `copies`; NULL keeps all. */
#define FLOCKER_BACKUPS(due, prune) \
    FLOCKER_EXPORT("backup-schedule@0.1.0#next", uint8_t *) flocker_export_next(FLOCKER_CONTEXT, uint8_t *p, size_t n, int64_t h) \
    { flocker_hook_due = due; return __wasm_export_exports_flocker_plugin_backup_schedule_next(FLOCKER_PASS, p, n, h); } \
    FLOCKER_EXPORT_DONE("backup-schedule@0.1.0#next", next, backup_schedule_next) \
    FLOCKER_EXPORT("backup-schedule@0.1.0#prune", uint8_t *) \
    flocker_export_prune(FLOCKER_CONTEXT, int32_t volume, uint8_t *lane, size_t lane_n, uint8_t *p, size_t n) \
    { flocker_hook_prune = prune; \
      return __wasm_export_exports_flocker_plugin_backup_schedule_prune(FLOCKER_PASS, volume, lane, lane_n, p, n); } \
    FLOCKER_EXPORT_DONE("backup-schedule@0.1.0#prune", prune, backup_schedule_prune)

/* ---- Not for authors -------------------------------------------------------------------------------------------- */

#define FLOCKER_EXPORT(name, type) __attribute__((export_name("flocker:plugin/" name))) type
#define FLOCKER_EXPORT_DONE(name, function, generated) \
    __attribute__((export_name("cabi_post_flocker:plugin/" name))) void flocker_export_done_##function(uint8_t *answer) \
    { __wasm_export_exports_flocker_plugin_##generated##_post_return(answer); }

/* The context and the view, flattened. */
#define FLOCKER_CONTEXT uint8_t *id, size_t id_n, int64_t now, int64_t seed, int64_t made, int32_t shadow, uint8_t *a, size_t a_n, int32_t view
#define FLOCKER_PASS id, id_n, now, seed, made, shadow, a, a_n, view

extern void (*flocker_hook_placement)(const flocker_node *, size_t, const flocker_request *, flocker_score *);
extern size_t (*flocker_hook_rebalance)(const flocker_app *, size_t, flocker_move *, size_t);
extern flocker_verdict (*flocker_hook_failover)(const flocker_incident *, flocker_volume);
extern void (*flocker_hook_due)(flocker_volume, uint64_t, uint64_t);
extern void (*flocker_hook_prune)(flocker_volume, const char *, const flocker_copy *, size_t, uint64_t);

uint8_t *__wasm_export_exports_flocker_plugin_placement_evaluate(uint8_t *);
uint8_t *__wasm_export_exports_flocker_plugin_rebalance_plan(FLOCKER_CONTEXT, uint8_t *, size_t, int32_t);
uint8_t *__wasm_export_exports_flocker_plugin_failover_decide(uint8_t *);
uint8_t *__wasm_export_exports_flocker_plugin_backup_schedule_next(FLOCKER_CONTEXT, uint8_t *, size_t, int64_t);
uint8_t *__wasm_export_exports_flocker_plugin_backup_schedule_prune(FLOCKER_CONTEXT, int32_t, uint8_t *, size_t, uint8_t *, size_t);
void __wasm_export_exports_flocker_plugin_placement_evaluate_post_return(uint8_t *);
void __wasm_export_exports_flocker_plugin_rebalance_plan_post_return(uint8_t *);
void __wasm_export_exports_flocker_plugin_failover_decide_post_return(uint8_t *);
void __wasm_export_exports_flocker_plugin_backup_schedule_next_post_return(uint8_t *);
void __wasm_export_exports_flocker_plugin_backup_schedule_prune_post_return(uint8_t *);

#endif
