/* What stands in for FLOCKER_SETTINGS: a policy without it has no settings. In a file of its own, since the compiler takes
 * what it sees for the only one there is. */
#include "inside.h"

static const char *no_settings(void)
{
    const char *json = flocker_settings();
    return *json == '\0' || flocker_is(json, "{}") ? NULL : "this policy has no settings";
}

__attribute__((weak)) const char *const flocker_policy_schema = "";
__attribute__((weak)) const char *(*const flocker_policy_configure)(void) = no_settings;
