/* Says which apps had better be elsewhere: here, one of the node that has the most, where it has the fewest neighbours. */
#include <flocker.h>

static size_t plan(const flocker_app *movable, size_t n, flocker_move *moves, size_t moves_max)
{
    flocker_node most = { UINT32_MAX }, fewest = { UINT32_MAX };
    FLOCKER_EACH(node, FLOCKER_NODES) {
        if (!flocker_node_is_alive(node) || flocker_node_is_draining(node))
            continue;
        if (FLOCKER_IS_NONE(most) || flocker_node_apps(node) > flocker_node_apps(most))
            most = node;
        if (FLOCKER_IS_NONE(fewest) || flocker_node_apps(node) < flocker_node_apps(fewest))
            fewest = node;
    }
    /* A difference of one would only change sides. */
    if (moves_max == 0 || FLOCKER_IS_NONE(most) || flocker_node_apps(most) < flocker_node_apps(fewest) + 2)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (FLOCKER_SAME(flocker_app_node(movable[i]), most)) {
            const char *why = flocker_format("%u apps there, %u here", (unsigned)flocker_node_apps(most),
                (unsigned)flocker_node_apps(fewest));
            moves[0] = (flocker_move){ movable[i], fewest, 1.0, why };
            return 1;
        }
    return 0;
}

FLOCKER_POLICY("{{name}}", "0.1.0");
FLOCKER_REBALANCE(plan)
