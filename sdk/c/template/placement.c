/* Says where apps should be: here, where the most memory is left. */
#include <flocker.h>

static flocker_score score(flocker_node node, const flocker_request *request)
{
    /* Where the app is already, its memory is among the promised. */
    uint64_t added = flocker_request_is_at(request, node) ? 0 : request->memory;
    uint64_t memory = flocker_node_memory(node), used = flocker_node_memory_promised(node) + added;
    flocker_score left = flocker_share(memory > used ? memory - used : 0, memory);
    return flocker_because(left, "%u apps", (unsigned)flocker_node_apps(node));
}

FLOCKER_POLICY("{{name}}", "0.1.0");
FLOCKER_PLACEMENT(score)
