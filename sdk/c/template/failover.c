/* Says what becomes of the volumes of a silent node: here, the newest copy is promoted after a minute. */
#include <flocker.h>

static const uint64_t PATIENCE_MS = 60 * 1000;

static flocker_verdict decide(const flocker_incident *incident, flocker_volume volume)
{
    if (incident->silent_ms < PATIENCE_MS)
        return flocker_wait(PATIENCE_MS - incident->silent_ms, "it may come back");
    flocker_replica newest = { UINT32_MAX };
    FLOCKER_EACH_OF(replica, FLOCKER_REPLICAS, "volume", volume) {
        uint64_t taken = flocker_replica_taken_ms(replica);
        if (taken == FLOCKER_MISSING || !flocker_node_is_alive(flocker_replica_node(replica)))
            continue;
        if (FLOCKER_IS_NONE(newest) || taken > flocker_replica_taken_ms(newest))
            newest = replica;
    }
    if (FLOCKER_IS_NONE(newest))
        return flocker_freeze("there is no copy on a node that answers");
    return flocker_promote(newest, "it is the newest copy");
}

FLOCKER_POLICY("{{name}}", "0.1.0");
FLOCKER_FAILOVER(decide)
