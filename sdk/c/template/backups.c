/* Says what is snapshotted when, and which copies may go: here, one snapshot per hour, and the last 24 are kept. */
#include <flocker.h>

static const uint64_t HOUR_MS = 60 * 60 * 1000;
static const size_t KEPT = 24;

static void due(flocker_volume volume, uint64_t now_ms, uint64_t horizon_ms)
{
    uint64_t last = flocker_volume_snapshot_ms(volume);
    uint64_t at = last == FLOCKER_MISSING ? now_ms : last + HOUR_MS;
    if (at <= now_ms + horizon_ms)
        flocker_due(volume, at, FLOCKER_SNAPSHOT, "hourly");
}

static void prune(flocker_volume volume, const char *lane, const flocker_copy *copies, size_t n, uint64_t now_ms)
{
    (void)volume, (void)lane, (void)copies, (void)now_ms;
    for (size_t i = 0; i + KEPT < n; i++)
        flocker_drop(i, "the last %zu are kept", KEPT);
}

FLOCKER_POLICY("{{name}}", "0.1.0");
FLOCKER_BACKUPS(due, prune)
