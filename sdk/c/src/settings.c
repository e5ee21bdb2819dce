/* Settings. The host has parsed them, so what stands here is JSON; only its outermost object is read. */
#include "inside.h"

#include <stdlib.h>

static char *json; /* the whole, NULL while there is none */

void flocker_keep_settings(const wit_string_t *text)
{
    free(json);
    json = flocker_host_memory(text->len + 1);
    memcpy(json, text->ptr, text->len);
    json[text->len] = '\0';
}

const char *flocker_settings(void) { return json ? json : ""; }

static const char *after_space(const char *at) { return at + strspn(at, " \t\r\n"); }

/* Behind the string that begins here. */
static const char *after_string(const char *at)
{
    for (at++; *at && *at != '"'; at++)
        if (*at == '\\' && at[1])
            at++;
    return *at ? at + 1 : at;
}

/* Behind the value that begins here. */
static const char *after_value(const char *at)
{
    size_t depth = 0;
    do {
        if (*at == '"') {
            at = after_string(at);
            continue;
        }
        if (*at == '{' || *at == '[')
            depth++;
        else if (*at == '}' || *at == ']')
            depth--;
        at++;
    } while (*at && (depth > 0 || !strchr(",}] \t\r\n", *at)));
    return at;
}

/* Four hexadecimal digits. */
static uint32_t unit(const char *at)
{
    char digits[5] = { 0 };
    strncpy(digits, at, 4);
    return (uint32_t)strtoul(digits, NULL, 16);
}

static char *write_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    } else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 0x3f));
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    }
    return to;
}

/* The string that begins here, without its quotes and escapes. Lasts as long as the policy. */
static char *string(const char *at)
{
    const char *end = after_string(at);
    /* An escape is never shorter than what it stands for. */
    char *text = flocker_host_memory((size_t)(end - at) + 1), *to = text;
    for (at++; at + 1 < end; at++) {
        static const char NAMES[] = "\"\\/bfnrt", MEANT[] = "\"\\/\b\f\n\r\t";
        if (*at != '\\') {
            *to++ = *at;
            continue;
        }
        const char *name = strchr(NAMES, *++at);
        if (name) {
            *to++ = MEANT[name - NAMES];
        } else {
            uint32_t c = unit(at + 1);
            at += 4;
            /* Two units that are one character. */
            if (c >= 0xd800 && c < 0xdc00 && at[1] == '\\' && at[2] == 'u') {
                c = 0x10000 + ((c - 0xd800) << 10) + (unit(at + 3) - 0xdc00);
                at += 6;
            }
            to = write_utf8(to, c);
        }
    }
    *to = '\0';
    return text;
}

/* The value of a key; NULL where there is none. */
static const char *value_of(const char *key)
{
    const char *at = after_space(flocker_settings());
    if (*at != '{')
        return NULL;
    at = after_space(at + 1);
    while (*at == '"') {
        char *name = string(at);
        bool found = strcmp(name, key) == 0;
        free(name);
        at = after_space(after_space(after_string(at)) + 1);
        if (found)
            return at;
        at = after_space(after_value(at));
        at = *at == ',' ? after_space(at + 1) : at;
    }
    return NULL;
}

const char *flocker_setting_text(const char *key, const char *otherwise)
{
    const char *value = value_of(key);
    return value && *value == '"' ? string(value) : otherwise;
}

double flocker_setting_number(const char *key, double otherwise)
{
    const char *value = value_of(key);
    return value && strchr("-0123456789", *value) ? strtod(value, NULL) : otherwise;
}

bool flocker_setting_flag(const char *key, bool otherwise)
{
    const char *value = value_of(key);
    return value && (*value == 't' || *value == 'f') ? *value == 't' : otherwise;
}
