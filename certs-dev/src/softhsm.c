/* A PKCS#11 module in front of SoftHSM that a test can pull, break and make lie, by files in DIR. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef unsigned long rv;
typedef rv (*call)();
/* CK_FUNCTION_LIST of PKCS #11 2.40. */
struct list { unsigned char major, minor; call f[68]; };

enum { INITIALIZE = 0, SLOTS = 4, TOKEN = 6, OPEN = 12, CLOSE_ALL = 14, SESSION = 15, LOGIN = 18, ATTRIBUTES = 24, FIND = 26,
       DECRYPT_INIT = 33, DECRYPT = 34, SIGN_INIT = 42, SIGN = 43, DERIVE = 62 };
enum { DEVICE_REMOVED = 0x32, MECHANISM_INVALID = 0x70, SHA256_RSA_PKCS = 0x40 };

static struct list ours, *real;
static unsigned long slot;
static int was_pulled;

static int pulled(void) {
    int now = access(DIR "/pulled", F_OK) == 0;
    /* Who pulls a token ends its sessions, and the login with them. */
    if (now && !was_pulled) real->f[CLOSE_ALL](slot);
    was_pulled = now;
    return now;
}

static void count(const char *path) {
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (file >= 0) { if (write(file, ".", 1) < 0) abort(); close(file); }
}

static rv initialize(void *arguments) {
    setenv("SOFTHSM2_CONF", DIR "/softhsm2.conf", 1);
    return real->f[INITIALIZE](arguments);
}
static rv slots(unsigned char with_token, unsigned long *list, unsigned long *n) {
    if (pulled()) { *n = 0; return 0; }
    return real->f[SLOTS](with_token, list, n);
}
static rv token(unsigned long id, void *info) { return pulled() ? DEVICE_REMOVED : real->f[TOKEN](id, info); }
static rv open_session(unsigned long id, unsigned long flags, void *app, void *notify, unsigned long *session) {
    slot = id;
    return pulled() ? DEVICE_REMOVED : real->f[OPEN](id, flags, app, notify, session);
}
static rv session(unsigned long s, void *info) { return pulled() ? DEVICE_REMOVED : real->f[SESSION](s, info); }
static rv login(unsigned long s, unsigned long user, unsigned char *pin, unsigned long length) {
    if (pulled()) return DEVICE_REMOVED;
    count(DIR "/logins");
    return real->f[LOGIN](s, user, pin, length);
}
static rv attributes(unsigned long s, unsigned long object, void *list, unsigned long n) {
    return pulled() ? DEVICE_REMOVED : real->f[ATTRIBUTES](s, object, list, n);
}
static rv find(unsigned long s, void *list, unsigned long n) { return pulled() ? DEVICE_REMOVED : real->f[FIND](s, list, n); }
static rv decrypt_init(unsigned long s, void *mechanism, unsigned long key) {
    return pulled() ? DEVICE_REMOVED : real->f[DECRYPT_INIT](s, mechanism, key);
}
static rv decrypt(unsigned long s, void *in, unsigned long length, void *out, unsigned long *n) {
    return pulled() ? DEVICE_REMOVED : real->f[DECRYPT](s, in, length, out, n);
}
static rv sign_init(unsigned long s, unsigned long *mechanism, unsigned long key) {
    if (pulled()) return DEVICE_REMOVED;
    if (*mechanism == SHA256_RSA_PKCS && access(DIR "/no-hash", F_OK) == 0) return MECHANISM_INVALID;
    return real->f[SIGN_INIT](s, mechanism, key);
}
static rv sign(unsigned long s, void *in, unsigned long length, unsigned char *out, unsigned long *n) {
    /* Once, in the middle: the token goes while it signs. */
    if (out && rename(DIR "/midway", DIR "/pulled") == 0) { pulled(); return DEVICE_REMOVED; }
    if (pulled()) return DEVICE_REMOVED;
    rv code = real->f[SIGN](s, in, length, out, n);
    if (code == 0 && out && access(DIR "/wrong", F_OK) == 0) out[*n / 2] ^= 1;
    return code;
}
static rv derive(unsigned long s, void *m, unsigned long base, void *list, unsigned long n, unsigned long *key) {
    return pulled() ? DEVICE_REMOVED : real->f[DERIVE](s, m, base, list, n, key);
}

rv C_GetFunctionList(struct list **given) {
    void *library = dlopen(DIR "/libsofthsm2.so", RTLD_NOW | RTLD_LOCAL);
    rv (*get)(struct list **) = library ? (rv (*)(struct list **))dlsym(library, "C_GetFunctionList") : 0;
    if (!get || get(&real)) return 5; /* CKR_GENERAL_ERROR */
    ours = *real;
    ours.f[INITIALIZE] = (call)initialize;
    ours.f[SLOTS] = (call)slots;
    ours.f[TOKEN] = (call)token;
    ours.f[OPEN] = (call)open_session;
    ours.f[SESSION] = (call)session;
    ours.f[LOGIN] = (call)login;
    ours.f[ATTRIBUTES] = (call)attributes;
    ours.f[FIND] = (call)find;
    ours.f[DECRYPT_INIT] = (call)decrypt_init;
    ours.f[DECRYPT] = (call)decrypt;
    ours.f[SIGN_INIT] = (call)sign_init;
    ours.f[SIGN] = (call)sign;
    ours.f[DERIVE] = (call)derive;
    *given = &ours;
    return 0;
}
