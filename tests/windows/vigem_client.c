/* A stand-in for ViGEmClient.dll, with the calls of its Client.h that the agent makes: as Wine has no ViGEmBus.
 * It keeps the last report, and while button B is pressed a game rumbles: large motor 255, small motor 128.
 * Without the environment variable VIGEM_BUS the driver is not installed. */
#include <stdlib.h>
#include <windows.h>

typedef struct { USHORT buttons; BYTE left, right; SHORT lx, ly, rx, ry; } REPORT;
typedef void (CALLBACK *NOTIFICATION)(void *client, void *target, UCHAR large, UCHAR small, UCHAR led, void *data);
typedef struct { int added; REPORT report; NOTIFICATION notification; void *data; } TARGET;

#define API __declspec(dllexport)
#define NONE 0x20000000

static int clients, targets, connected;
static REPORT last;

API void *vigem_alloc(void) { clients++; return malloc(1); }
API void vigem_free(void *client) { clients--; free(client); }
API DWORD vigem_connect(void *client) {
    if (!client || !GetEnvironmentVariableA("VIGEM_BUS", NULL, 0)) return 0xE0000001;
    connected++;
    return NONE;
}
API void vigem_disconnect(void *client) { connected--; }
API void *vigem_target_x360_alloc(void) { targets++; return calloc(1, sizeof(TARGET)); }
API void vigem_target_free(TARGET *target) { targets--; free(target); }
API DWORD vigem_target_add(void *client, TARGET *target) {
    if (!client || !target || target->added) return 0xE0000005;
    target->added = 1;
    return NONE;
}
API DWORD vigem_target_remove(void *client, TARGET *target) {
    if (!target->added) return 0xE0000007;
    target->added = 0;
    return NONE;
}
API DWORD vigem_target_x360_register_notification(void *client, TARGET *target, NOTIFICATION call, void *data) {
    target->notification = call;
    target->data = data;
    return NONE;
}
API void vigem_target_x360_unregister_notification(TARGET *target) { target->notification = NULL; }
API DWORD vigem_target_x360_update(void *client, TARGET *target, REPORT report) {
    if (!target->added) return 0xE0000007;
    target->report = last = report;
    if (target->notification) {
        int pressed = report.buttons & 0x2000;
        target->notification(client, target, pressed ? 255 : 0, pressed ? 128 : 0, 1, target->data);
    }
    return NONE;
}
API REPORT test_last_report(void) { return last; }
API int test_open(void) { return clients * 100 + targets * 10 + connected; }
