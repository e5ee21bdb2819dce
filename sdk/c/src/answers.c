/* Scores and verdicts. */
#include "inside.h"

static flocker_score score_of(uint64_t points)
{
    return (flocker_score){ .points = (int32_t)(points < FLOCKER_SCORE_MAX ? points : FLOCKER_SCORE_MAX) };
}

flocker_score flocker_good(uint64_t points) { return score_of(points); }

flocker_score flocker_share(uint64_t part, uint64_t whole)
{
    if (whole == 0)
        return score_of(0);
    if (part >= whole)
        return score_of(FLOCKER_SCORE_MAX);
    /* Too large to be multiplied, it is divided first; the difference is less than a point. */
    bool large = part > UINT64_MAX / FLOCKER_SCORE_MAX;
    return score_of(large ? part / (whole / FLOCKER_SCORE_MAX) : part * FLOCKER_SCORE_MAX / whole);
}

flocker_score flocker_refuse(const char *format, ...)
{
    FORMAT(text, format)
    return (flocker_score){ .points = -1, .reason = text };
}

flocker_score flocker_because(flocker_score score, const char *format, ...)
{
    FORMAT(text, format)
    score.reason = text;
    return score;
}

static const flocker_replica NO_REPLICA = { UINT32_MAX };

/* The codes are those of wit/codes.md. */
flocker_verdict flocker_wait(uint64_t wait_ms, const char *format, ...)
{
    FORMAT(text, format)
    return (flocker_verdict){ 0, (uint32_t)(wait_ms < UINT32_MAX ? wait_ms : UINT32_MAX), NO_REPLICA, text };
}

flocker_verdict flocker_promote(flocker_replica replica, const char *format, ...)
{
    FORMAT(text, format)
    return (flocker_verdict){ 1, 0, replica, text };
}

flocker_verdict flocker_freeze(const char *format, ...)
{
    FORMAT(text, format)
    return (flocker_verdict){ 2, 0, NO_REPLICA, text };
}
