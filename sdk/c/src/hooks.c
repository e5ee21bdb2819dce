/* Between the component's exports and the author's functions. */
#include "inside.h"

#include <stdlib.h>

/* What FLOCKER_POLICY and FLOCKER_SETTINGS say. */
extern const char *const flocker_policy_name, *const flocker_policy_version, *const flocker_policy_schema;
extern const char *(*const flocker_policy_configure)(void);

/* What the macros of exports.h set before they call. */
void (*flocker_hook_placement)(const flocker_node *, size_t, const flocker_request *, flocker_score *);
size_t (*flocker_hook_rebalance)(const flocker_app *, size_t, flocker_move *, size_t);
flocker_verdict (*flocker_hook_failover)(const flocker_incident *, flocker_volume);

void exports_flocker_plugin_lifecycle_describe(exports_flocker_plugin_lifecycle_info_t *info)
{
    info->name = flocker_host_text(flocker_policy_name);
    info->version = flocker_host_text(flocker_policy_version);
    info->settings_schema = flocker_host_text(flocker_policy_schema);
    info->attrs.ptr = NULL;
    info->attrs.len = 0;
}

bool exports_flocker_plugin_lifecycle_configure(wit_string_t *settings, exports_flocker_plugin_lifecycle_failure_t *failure)
{
    flocker_keep_settings(settings);
    wit_string_free(settings);
    const char *wrong = flocker_policy_configure();
    if (!wrong)
        return true;
    failure->code = 1; /* "the settings are not understood" in wit/codes.md */
    failure->message = flocker_host_text(wrong);
    failure->retry_after_ms.is_some = false;
    return false;
}

/* Labels of what is to be placed: attributes `label:KEY`. */
static void read_labels(flocker_request *request, const exports_flocker_plugin_placement_list_attr_t *attrs)
{
    struct flocker_pair *labels = flocker_take(attrs->len * sizeof *labels);
    static const char PREFIX[] = "label:";
    for (size_t i = 0; i < attrs->len; i++) {
        const char *key = flocker_c_text(&attrs->ptr[i].key);
        if (strncmp(key, PREFIX, sizeof PREFIX - 1) == 0)
            labels[request->n_labels++] = (struct flocker_pair){ key + sizeof PREFIX - 1, flocker_c_text(&attrs->ptr[i].value) };
    }
    request->labels = labels;
}

const char *flocker_request_label(const flocker_request *request, const char *key)
{
    for (size_t i = 0; i < request->n_labels; i++)
        if (strcmp(request->labels[i].key, key) == 0)
            return request->labels[i].value;
    return NULL;
}

bool flocker_request_is_held_by(const flocker_request *request, flocker_node node)
{
    bool held = FLOCKER_SAME(request->at, node);
    for (size_t i = 0; i < request->n_holders; i++)
        held |= request->holders[i] == node.row;
    return held;
}

bool exports_flocker_plugin_placement_evaluate(exports_flocker_plugin_placement_context_t *context,
    exports_flocker_plugin_placement_borrow_view_t cluster, exports_flocker_plugin_placement_request_t *asked,
    wit_list_u32_t *candidates, exports_flocker_plugin_placement_verdict_t *verdict,
    exports_flocker_plugin_placement_failure_t *failure)
{
    (void)failure;
    flocker_begin(cluster);
    size_t n = candidates->len;
    flocker_request request = {
        .name = flocker_c_text(&asked->name), .purpose = flocker_c_text(&asked->purpose),
        .memory = asked->memory_bytes, .size = asked->size_bytes, .cpu_millis = asked->cpu_millis,
        .volumes = asked->volumes.len, .at = { asked->current.is_some ? asked->current.val : UINT32_MAX },
        .holders = asked->holders.ptr, .n_holders = asked->holders.len,
    };
    read_labels(&request, &asked->attrs);
    flocker_node *nodes = flocker_take(n * sizeof *nodes);
    flocker_score *scores = flocker_take(n * sizeof *scores);
    for (size_t i = 0; i < n; i++) {
        nodes[i] = (flocker_node){ candidates->ptr[i] };
        /* The host refuses the answer where an author forgot to fill one in. */
        scores[i] = (flocker_score){ .points = INT32_MIN };
    }
    flocker_hook_placement(nodes, n, &request, scores);

    memset(verdict, 0, sizeof *verdict);
    verdict->scores.len = n;
    verdict->scores.ptr = flocker_host_memory(n * sizeof *verdict->scores.ptr);
    verdict->reasons.ptr = flocker_host_memory(n * sizeof *verdict->reasons.ptr);
    for (size_t i = 0; i < n; i++) {
        verdict->scores.ptr[i] = scores[i].points;
        if (scores[i].reason)
            verdict->reasons.ptr[verdict->reasons.len++] = (exports_flocker_plugin_placement_reason_t){
                nodes[i].row, scores[i].code, flocker_host_text(scores[i].reason) };
    }
    if (verdict->reasons.len == 0) /* what is empty is not freed afterwards */
        free(verdict->reasons.ptr);
    if (n == 0)
        free(verdict->scores.ptr);
    flocker_end();
    flocker_plugin_types_context_free(context);
    exports_flocker_plugin_placement_request_free(asked);
    wit_list_u32_free(candidates);
    return true;
}

bool exports_flocker_plugin_rebalance_plan(exports_flocker_plugin_rebalance_context_t *context,
    exports_flocker_plugin_rebalance_borrow_view_t cluster, wit_list_u32_t *movable, uint32_t max_moves,
    exports_flocker_plugin_rebalance_list_move_t *moves, exports_flocker_plugin_rebalance_failure_t *failure)
{
    (void)failure;
    flocker_begin(cluster);
    flocker_app *apps = flocker_take(movable->len * sizeof *apps);
    for (size_t i = 0; i < movable->len; i++)
        apps[i] = (flocker_app){ movable->ptr[i] };
    /* No more than there are apps, whatever the host would take. */
    size_t max = max_moves < movable->len ? max_moves : movable->len;
    flocker_move *planned = flocker_take(max * sizeof *planned);
    size_t n = flocker_hook_rebalance(apps, movable->len, planned, max);
    if (n > max)
        abort(); /* it wrote where nothing is */

    moves->len = n;
    moves->ptr = n ? flocker_host_memory(n * sizeof *moves->ptr) : NULL;
    for (size_t i = 0; i < n; i++)
        moves->ptr[i] = (exports_flocker_plugin_rebalance_move_t){ planned[i].app.row, planned[i].target.row,
            planned[i].gain, flocker_host_text(planned[i].reason), { NULL, 0 } };
    flocker_end();
    flocker_plugin_types_context_free(context);
    wit_list_u32_free(movable);
    return true;
}

bool exports_flocker_plugin_failover_decide(exports_flocker_plugin_failover_context_t *context,
    exports_flocker_plugin_failover_borrow_view_t cluster, exports_flocker_plugin_failover_incident_t *what,
    wit_list_u32_t *volumes, exports_flocker_plugin_failover_list_decision_t *decisions,
    exports_flocker_plugin_failover_failure_t *failure)
{
    (void)failure;
    flocker_begin(cluster);
    flocker_incident incident = { { what->node }, context->now_ms, what->silent_ms, what->fenced, what->votes, what->quorum };
    decisions->len = volumes->len;
    decisions->ptr = volumes->len ? flocker_host_memory(volumes->len * sizeof *decisions->ptr) : NULL;
    for (size_t i = 0; i < volumes->len; i++) {
        flocker_verdict verdict = flocker_hook_failover(&incident, (flocker_volume){ volumes->ptr[i] });
        decisions->ptr[i] = (exports_flocker_plugin_failover_decision_t){ verdict.code,
            { !FLOCKER_IS_NONE(verdict.replica), verdict.replica.row }, verdict.wait_ms,
            flocker_host_text(verdict.reason), { NULL, 0 } };
    }
    flocker_end();
    flocker_plugin_types_context_free(context);
    exports_flocker_plugin_failover_incident_free(what);
    wit_list_u32_free(volumes);
    return true;
}
