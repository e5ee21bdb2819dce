/* Reading of settings, on the author's machine: cc -I include tests/settings.c && ./a.out */
#include "../src/settings.c"

#include <stdio.h>

void *flocker_host_memory(size_t size) { return malloc(size ? size : 1); }

static int failures;

static void check(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "does not hold: %s\n", what);
        failures++;
    }
}
#define CHECK(holds) check(holds, #holds)

static void configure(const char *text)
{
    wit_string_t settings = { (uint8_t *)text, strlen(text) };
    flocker_keep_settings(&settings);
}

int main(void)
{
    CHECK(flocker_is(flocker_setting_text("a", "before any"), "before any"));

    configure(" { \"inner\" : { \"a\" : [1, \"}\", {\"a\": 2}] }, \"a\":\"x\", \"n\" : -1.5e2 ,\"yes\":true,\"no\":false, \"nil\":null}\n");
    CHECK(flocker_is(flocker_setting_text("a", "-"), "x"));
    CHECK(flocker_setting_number("n", 0) == -150);
    CHECK(flocker_setting_flag("yes", false));
    CHECK(!flocker_setting_flag("no", true));
    /* Not there, or of another type. */
    CHECK(flocker_is(flocker_setting_text("b", "-"), "-"));
    CHECK(flocker_is(flocker_setting_text("n", "-"), "-"));
    CHECK(flocker_is(flocker_setting_text("nil", "-"), "-"));
    CHECK(flocker_setting_number("a", 7) == 7);
    CHECK(flocker_setting_flag("a", true));

    configure("{\"k\\u0065y\":\"\\\\u0041 \\\"q\\\" \\u00e4\\u20ac\\ud83d\\ude00\\n\\/\"}");
    CHECK(flocker_is(flocker_setting_text("key", "-"), "\\u0041 \"q\" \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\n/"));

    configure("{}");
    CHECK(flocker_is(flocker_setting_text("a", "none"), "none"));
    configure("[\"a\"]");
    CHECK(flocker_is(flocker_setting_text("a", "none"), "none"));
    return failures;
}
