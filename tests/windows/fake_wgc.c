/* A Windows.Graphics.Capture of one source, for tests of agent/capture/graphics_capture.py: Wine has none. Its Direct3D is
 * that of fake_dxgi.c. Debian's SDK has no headers of it, so its tables are written here a second time, from the interfaces'
 * definitions in windows.graphics.capture.h: whoever calls a wrong position of them gets another method, and is counted.
 */
#include "fake_dxgi.c"
#include <hstring.h>
#include <roapi.h>

typedef struct { INT32 Width, Height; } SizeInt32;
typedef struct { INT64 value; } Token;

DEFINE_GUID(IID_Item, 0x79c3f95b, 0x31f7, 0x4ec2, 0xa4, 0x64, 0x63, 0x2e, 0xf5, 0xd3, 0x07, 0x60);
DEFINE_GUID(IID_ItemInterop, 0x3628e81b, 0x3cac, 0x4c60, 0xb7, 0xf4, 0x23, 0xce, 0x0e, 0x0c, 0x33, 0x56);
DEFINE_GUID(IID_PoolStatics2, 0x589b103f, 0x6bbc, 0x5df5, 0xa9, 0x91, 0x02, 0xe2, 0x8b, 0x3b, 0x66, 0xd5);
DEFINE_GUID(IID_SessionStatics, 0x2224a540, 0x5974, 0x49aa, 0xb2, 0x32, 0x08, 0x82, 0x53, 0x6f, 0x4c, 0xb5);
DEFINE_GUID(IID_Session2, 0x2c39ae40, 0x7d2e, 0x5044, 0x80, 0x4e, 0x8b, 0x67, 0x99, 0xd4, 0xcf, 0x9e);
DEFINE_GUID(IID_Session3, 0xf2cdd966, 0x22ae, 0x5ea1, 0x95, 0x96, 0x3a, 0x28, 0x93, 0x44, 0xc3, 0xbe);
DEFINE_GUID(IID_Closable, 0x30d5a829, 0x7fa4, 0x4026, 0x83, 0xbb, 0xd7, 0x5b, 0xae, 0x4e, 0xa9, 0x9e);
DEFINE_GUID(IID_Direct3DDevice, 0xa37624ab, 0x8d5f, 0x4650, 0x9d, 0x3e, 0x9e, 0xae, 0x3d, 0x9b, 0xc6, 0x70);
DEFINE_GUID(IID_DxgiAccess, 0xa9b3d012, 0x3df2, 0x4ee3, 0xb8, 0xd1, 0x86, 0x95, 0xf4, 0x57, 0xd3, 0xc1);
DEFINE_GUID(IID_Agile, 0x94ea2b94, 0xe9cc, 0x49e0, 0xc0, 0xff, 0xee, 0x64, 0xca, 0x8f, 0x5b, 0x90);
DEFINE_GUID(IID_FrameArrived, 0x51a947f7, 0x79cf, 0x5a3e, 0xa3, 0xa5, 0x12, 0x89, 0xcf, 0xa6, 0xdf, 0xe8);
DEFINE_GUID(IID_ItemClosed, 0xe9c610c0, 0xa68c, 0x5bd9, 0x80, 0x21, 0x85, 0x89, 0x34, 0x6e, 0xee, 0xe2);

#define UNKNOWN_METHODS \
    HRESULT(STDMETHODCALLTYPE *QueryInterface)(void *, REFIID, void **); \
    ULONG(STDMETHODCALLTYPE *AddRef)(void *); \
    ULONG(STDMETHODCALLTYPE *Release)(void *);
#define INSPECTABLE_METHODS UNKNOWN_METHODS void *GetIids, *GetRuntimeClassName, *GetTrustLevel;

typedef struct {
    const struct {
        UNKNOWN_METHODS
        HRESULT(STDMETHODCALLTYPE *Invoke)(void *, void *sender, void *more);
    } *table;
} Delegate;

enum { ITEM = 100, ITEM_INTEROP, POOL_STATICS, SESSION_STATICS, WRAPPED, DIRECT3D, POOL, SESSION, SESSION_2, SESSION_3, CLOSABLE, FRAME, SURFACE, ACCESS };

static struct {
    LONG running;
    LONG initialised;
    LONG strings;
    LONG handlers;
    LONG cursor, border; /* as they were set */
    LONG of_window; /* what the item was made of: 1 a window, 0 a monitor */
    INT64 handle;
    HRESULT factory, item; /* what these give */
    LONG supported;
    LONG old; /* a Windows without Session2 and Session3 */
    SizeInt32 content;
    LONG open, buffers; /* frames that were not closed, and how many may be */
    Delegate *arrived, *closed;
} wgc;

static HRESULT STDMETHODCALLTYPE query_wgc(void *it, REFIID id, void **other);
static const void *const access_table[];
static const void *const session_2_table[];
static const void *const session_3_table[];
static const void *const closable_table[];
static const void *const direct3d_table[];
static const void *const item_table[];
static const void *const pool_table[];
static const void *const session_table[];
static const void *const frame_table[];
static const void *const surface_table[];

static HRESULT STDMETHODCALLTYPE supported(void *it, BYTE *result) {
    *result = (BYTE)wgc.supported;
    return S_OK;
}

static HRESULT item_of(LONG of_window, void *handle, REFIID id, void **item) {
    *item = NULL;
    if (!IsEqualGUID(id, &IID_Item)) fake.mistakes++;
    wgc.of_window = of_window;
    wgc.handle = (INT64)handle;
    if (FAILED(wgc.item)) return wgc.item;
    *item = make_of(ITEM, item_table);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE for_window(void *it, HWND window, REFIID id, void **item) { return item_of(1, window, id, item); }
static HRESULT STDMETHODCALLTYPE for_monitor(void *it, HMONITOR monitor, REFIID id, void **item) { return item_of(0, monitor, id, item); }

static HRESULT STDMETHODCALLTYPE item_size(void *it, SizeInt32 *size) {
    size->Width = WIDTH;
    size->Height = HEIGHT;
    return S_OK;
}

static BOOL answers_to(Delegate *handler, REFIID id) {
    void *other = handler;
    return SUCCEEDED(handler->table->QueryInterface(handler, id, &other)) && other == handler;
}

static HRESULT hear(Delegate **slot, Delegate *handler, REFIID id, Token *token) {
    if (*slot || !answers_to(handler, id) || !answers_to(handler, &IID_Agile) || !answers_to(handler, &IID_IUnknown) ||
        answers_to(handler, &IID_Session2))
        fake.mistakes++;
    handler->table->AddRef(handler);
    *slot = handler;
    wgc.handlers++;
    token->value = (INT64)slot;
    return S_OK;
}

static HRESULT unhear(Delegate **slot, Token token) {
    if (!*slot || token.value != (INT64)slot) {
        fake.mistakes++;
        return E_INVALIDARG;
    }
    (*slot)->table->Release(*slot);
    *slot = NULL;
    wgc.handlers--;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE add_closed(void *it, Delegate *handler, Token *token) { return hear(&wgc.closed, handler, &IID_ItemClosed, token); }
static HRESULT STDMETHODCALLTYPE remove_closed(void *it, Token token) { return unhear(&wgc.closed, token); }
static HRESULT STDMETHODCALLTYPE add_arrived(void *it, Delegate *handler, Token *token) { return hear(&wgc.arrived, handler, &IID_FrameArrived, token); }
static HRESULT STDMETHODCALLTYPE remove_arrived(void *it, Token token) { return unhear(&wgc.arrived, token); }

static HRESULT STDMETHODCALLTYPE create_pool(void *it, void *device, INT32 format, INT32 buffers, SizeInt32 size, void **pool) {
    if (((Object *)device)->kind != DIRECT3D || format != DXGI_FORMAT_B8G8R8A8_UNORM || buffers < 1 || size.Width != WIDTH || size.Height != HEIGHT)
        fake.mistakes++;
    wgc.buffers = buffers;
    *pool = make_of(POOL, pool_table);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE next_frame(void *it, void **frame) {
    *frame = NULL;
    if (!wgc.running || fake.at >= fake.steps || wgc.open >= wgc.buffers) return S_OK;
    fake.at++;
    if (now()->acquired != S_OK) return now()->acquired;
    for (int i = 0; i < WIDTH * HEIGHT; i++) desktop[i] = now()->colour;
    wgc.open++;
    *frame = make_of(FRAME, frame_table);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE create_session(void *it, void *item, void **session) {
    if (((Object *)item)->kind != ITEM) fake.mistakes++;
    *session = make_of(SESSION, session_table);
    return S_OK;
}

static void tell(Delegate *handler) {
    if (handler) handler->table->Invoke(handler, NULL, NULL);
}

static HRESULT STDMETHODCALLTYPE start_capture(void *it) {
    if (wgc.running) fake.mistakes++;
    wgc.running = 1;
    if (fake.at < fake.steps) tell(wgc.arrived);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE put_cursor(void *it, BYTE on) {
    wgc.cursor = on;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE put_border(void *it, BYTE on) {
    wgc.border = on;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE get_surface(void *it, void **surface) {
    *surface = make_of(SURFACE, surface_table);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE content_size(void *it, SizeInt32 *size) {
    *size = wgc.content;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE get_interface(void *it, REFIID id, void **texture) {
    if (!IsEqualGUID(id, &IID_ID3D11Texture2D)) fake.mistakes++;
    *texture = make(DESKTOP);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE close_it(void *it) {
    switch (((Object *)it)->kind - CLOSABLE) {
    case FRAME:
        wgc.open--;
        break;
    case SESSION:
        wgc.running = 0;
        break;
    case POOL:
        break;
    default:
        fake.mistakes++;
    }
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE query_wgc(void *it, REFIID id, void **other) {
    int kind = ((Object *)it)->kind;
    *other = NULL;
    if (IsEqualGUID(id, &IID_Closable) && (kind == FRAME || kind == SESSION || kind == POOL)) {
        *other = make_of(CLOSABLE + kind, closable_table);
    } else if (kind == SESSION && !wgc.old && IsEqualGUID(id, &IID_Session2)) {
        *other = make_of(SESSION_2, session_2_table);
    } else if (kind == SESSION && !wgc.old && IsEqualGUID(id, &IID_Session3)) {
        *other = make_of(SESSION_3, session_3_table);
    } else if (kind == WRAPPED && IsEqualGUID(id, &IID_Direct3DDevice)) {
        *other = make_of(DIRECT3D, direct3d_table);
    } else if (kind == SURFACE && IsEqualGUID(id, &IID_DxgiAccess)) {
        *other = make_of(ACCESS, access_table);
    } else {
        if (!(kind == SESSION && wgc.old)) fake.mistakes++;
        return E_NOINTERFACE;
    }
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE wrong(void *it) {
    fake.mistakes++;
    return E_NOTIMPL;
}

#define UNKNOWN_TABLE query_wgc, add, drop
#define INSPECTABLE_TABLE UNKNOWN_TABLE, wrong, wrong, wrong /* GetIids, GetRuntimeClassName, GetTrustLevel */

static const void *const session_statics_table[] = {INSPECTABLE_TABLE, supported};
static const void *const item_interop_table[] = {UNKNOWN_TABLE, for_window, for_monitor};
static const void *const pool_statics_table[] = {INSPECTABLE_TABLE, create_pool};
static const void *const item_table[] = {INSPECTABLE_TABLE, wrong /* DisplayName */, item_size, add_closed, remove_closed};
static const void *const wrapped_table[] = {INSPECTABLE_TABLE, wrong};
static const void *const direct3d_table[] = {INSPECTABLE_TABLE, wrong /* Trim */};
static const void *const pool_table[] = {
    INSPECTABLE_TABLE, wrong /* Recreate */, next_frame, add_arrived, remove_arrived, create_session, wrong /* DispatcherQueue */};
static const void *const session_table[] = {INSPECTABLE_TABLE, start_capture};
static const void *const session_2_table[] = {INSPECTABLE_TABLE, wrong /* get */, put_cursor};
static const void *const session_3_table[] = {INSPECTABLE_TABLE, wrong /* get */, put_border};
static const void *const closable_table[] = {INSPECTABLE_TABLE, close_it};
static const void *const frame_table[] = {INSPECTABLE_TABLE, get_surface, wrong /* SystemRelativeTime */, content_size};
static const void *const surface_table[] = {INSPECTABLE_TABLE, wrong /* Description */};
static const void *const access_table[] = {UNKNOWN_TABLE, get_interface};

EXPORT HRESULT WINAPI CreateDirect3D11DeviceFromDXGIDevice(void *device, void **wrapped) {
    if (((Object *)device)->kind != DEVICE) fake.mistakes++;
    *wrapped = make_of(WRAPPED, wrapped_table);
    return S_OK;
}

EXPORT HRESULT WINAPI RoInitialize(RO_INIT_TYPE type) {
    if (type != RO_INIT_MULTITHREADED) fake.mistakes++;
    wgc.initialised++;
    return S_OK;
}

EXPORT void WINAPI RoUninitialize(void) { wgc.initialised--; }

EXPORT HRESULT WINAPI WindowsCreateString(const WCHAR *text, UINT32 length, HSTRING *string) {
    if ((UINT32)lstrlenW(text) != length) fake.mistakes++;
    *string = (HSTRING)_wcsdup(text);
    wgc.strings++;
    return S_OK;
}

EXPORT HRESULT WINAPI WindowsDeleteString(HSTRING string) {
    free(string);
    wgc.strings--;
    return S_OK;
}

EXPORT HRESULT WINAPI RoGetActivationFactory(HSTRING name, REFIID id, void **factory) {
    const struct {
        const WCHAR *name;
        const GUID *id;
        int kind;
        const void *table;
    } known[] = {
        {L"Windows.Graphics.Capture.GraphicsCaptureSession", &IID_SessionStatics, SESSION_STATICS, session_statics_table},
        {L"Windows.Graphics.Capture.GraphicsCaptureItem", &IID_ItemInterop, ITEM_INTEROP, item_interop_table},
        {L"Windows.Graphics.Capture.Direct3D11CaptureFramePool", &IID_PoolStatics2, POOL_STATICS, pool_statics_table}};
    *factory = NULL;
    if (FAILED(wgc.factory)) return wgc.factory;
    for (int i = 0; i < 3; i++)
        if (!lstrcmpW((const WCHAR *)name, known[i].name) && IsEqualGUID(id, known[i].id)) {
            *factory = make_of(known[i].kind, known[i].table);
            return S_OK;
        }
    fake.mistakes++;
    return REGDB_E_CLASSNOTREG;
}

EXPORT void fake_wgc_reset(void) {
    fake_reset(L"");
    memset(&wgc, 0, sizeof wgc);
    wgc.supported = wgc.cursor = wgc.border = 1;
    wgc.content.Width = WIDTH;
    wgc.content.Height = HEIGHT;
}

EXPORT void fake_wgc_present(const Step *step) {
    fake_step(step);
    tell(wgc.arrived);
}

EXPORT void fake_wgc_close(void) { tell(wgc.closed); }

EXPORT void fake_wgc_resize(LONG width, LONG height) {
    wgc.content.Width = width;
    wgc.content.Height = height;
}

EXPORT void fake_wgc_fail(HRESULT factory, HRESULT item, LONG is_supported, LONG old) {
    wgc.factory = factory;
    wgc.item = item;
    wgc.supported = is_supported;
    wgc.old = old;
}

EXPORT INT64 fake_wgc_count(int which) {
    const INT64 counts[] = {wgc.running, wgc.initialised, wgc.strings, wgc.handlers, wgc.open, wgc.cursor, wgc.border, wgc.of_window, wgc.handle};
    return counts[which];
}
