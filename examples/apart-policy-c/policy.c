/* Keeps apps of one group apart: not on one node, and rather not in one rack, so that no single failure takes all of them.
 *
 * Apps are in the same group when their containers have the same label `group`. Others are spread by free memory alone.
 * Settings: {"rack": "rack", "strict": false}; `rack` is the label of nodes that says what fails together, and a strict
 * policy refuses a second app of a group in a rack instead of liking it less. */
#include <flocker.h>

#include <stdlib.h>

static const char SCHEMA[] =
    "{ \"type\": \"object\", \"additionalProperties\": false, \"properties\": {"
    "  \"rack\": { \"type\": \"string\", \"minLength\": 1, \"description\": \"The label of nodes that names what fails together\" },"
    "  \"strict\": { \"type\": \"boolean\", \"description\": \"Refuse a second app of a group in a rack\" } } }";

static const char *rack = "rack";
static bool strict = false;

static const char *configure(void)
{
    rack = flocker_setting_text("rack", "rack");
    strict = flocker_setting_flag("strict", false);
    return NULL;
}

/* How many apps of the group are on the node, without the one that is being placed. */
static unsigned neighbours(flocker_node node, const char *group, const flocker_request *request)
{
    unsigned n = 0;
    FLOCKER_EACH_OF(app, FLOCKER_APPS, "node", node) {
        n += flocker_is(flocker_app_label(app, "group"), group) && !flocker_is(flocker_app_name(app), request->name);
    }
    return n;
}

/* How many are on other nodes of the same rack. Nodes without the label are racks of their own. */
static unsigned in_rack(flocker_node of, const char *group, const flocker_request *request)
{
    unsigned n = 0;
    FLOCKER_EACH(node, FLOCKER_NODES) {
        if (!FLOCKER_SAME(node, of) && flocker_is(flocker_node_label(node, rack), flocker_node_label(of, rack)))
            n += neighbours(node, group, request);
    }
    return n;
}

static flocker_score score(flocker_node node, const flocker_request *request)
{
    /* Half of the scale is for free memory; where the app is already, its own does not count against the node. */
    uint64_t own = flocker_request_is_at(request, node) ? request->memory : 0;
    flocker_score score = flocker_share(flocker_node_memory_free(node) + own, 2 * flocker_node_memory(node));
    const char *group = flocker_request_label(request, "group");
    if (!group)
        return score;
    unsigned here = neighbours(node, group, request);
    if (here > 0)
        return flocker_refuse("%u of the group `%s` here", here, group);
    unsigned near = in_rack(node, group, request);
    if (near > 0 && strict)
        return flocker_refuse("%u of the group `%s` in this rack", near, group);
    if (near > 0)
        return flocker_because(score, "%u of the group `%s` in this rack", near, group);
    score.points += FLOCKER_SCORE_MAX / 2;
    return score;
}

FLOCKER_POLICY("apart", "0.1.0");
FLOCKER_SETTINGS(SCHEMA, configure);
FLOCKER_PLACEMENT(score)
