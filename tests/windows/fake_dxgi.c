/* A DXGI and a Direct3D 11 with one graphics card and one monitor, for tests of agent/capture/duplication.py: Wine's have
 * no Desktop Duplication. Its objects are made of the SDK's own tables and structures, so that a wrong position or layout on
 * the other side shows; it counts them, and what it is told wrongly. Tests write what comes next into a script.
 */
#define COBJMACROS
#define CINTERFACE
#define INITGUID
#include <windows.h>
#include <d3d11.h>
#include <dxgi1_2.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __declspec(dllexport)
#define WIDTH 64
#define HEIGHT 48
#define PITCH (WIDTH * 4 + 64) /* as cards have it: longer than a row */
#define MAX_STEPS 64
#define MAX_RECTS 8

typedef struct {
    HRESULT acquired; /* what AcquireNextFrame gives */
    HRESULT released; /* and then ReleaseFrame */
    LONG presented, pointer;
    LONG rects, moves;
    RECT rect[MAX_RECTS];
    DXGI_OUTDUPL_MOVE_RECT move[MAX_RECTS];
    DWORD colour; /* the whole desktop's from then on, 0xAARRGGBB */
    LONG wrong_format;
} Step;

static struct {
    LONG objects;  /* alive */
    LONG mistakes; /* calls that no real DXGI would take */
    LONG held;     /* frames acquired and not released */
    LONG mapped;
    LONG copies;
    D3D11_BOX copied; /* by the last copy */
    HRESULT duplicate; /* what DuplicateOutput gives */
    HRESULT device;
    DWORD rotation;
    WCHAR name[32];
    LONG at, steps;
    Step step[MAX_STEPS];
} fake;

static DWORD desktop[WIDTH * HEIGHT];
static BYTE staging[PITCH * HEIGHT];

typedef struct {
    const void *table;
    LONG count;
    int kind;
} Object;

enum { FACTORY, ADAPTER, OUTPUT, DUPLICATION, DEVICE, IMMEDIATE, DESKTOP, STAGING };

static const void *const tables[];

static void *make_of(int kind, const void *table) {
    Object *object = malloc(sizeof *object);
    object->table = table;
    object->count = 1;
    object->kind = kind;
    InterlockedIncrement(&fake.objects);
    return object;
}

static void *make(int kind) { return make_of(kind, tables[kind]); }

static ULONG STDMETHODCALLTYPE add(void *it) { return InterlockedIncrement(&((Object *)it)->count); }

static ULONG STDMETHODCALLTYPE drop(void *it) {
    LONG left = InterlockedDecrement(&((Object *)it)->count);
    if (left == 0) {
        InterlockedDecrement(&fake.objects); /* its memory stays, so that one release too many is seen */
    } else if (left < 0) {
        fake.mistakes++;
    }
    return left;
}

static HRESULT STDMETHODCALLTYPE query(void *it, REFIID id, void **other) {
    int kind = ((Object *)it)->kind;
    if ((kind == OUTPUT && IsEqualGUID(id, &IID_IDXGIOutput1)) || (kind == DESKTOP && IsEqualGUID(id, &IID_ID3D11Texture2D)) ||
        (kind == DEVICE && IsEqualGUID(id, &IID_IDXGIDevice))) {
        add(it);
        *other = it;
        return S_OK;
    }
    *other = NULL;
    fake.mistakes++;
    return E_NOINTERFACE;
}

static HRESULT STDMETHODCALLTYPE adapters(IDXGIFactory1 *it, UINT number, IDXGIAdapter1 **adapter) {
    *adapter = number < 2 ? make(ADAPTER) : NULL; /* the first one without a monitor, as on notebooks */
    if (*adapter) ((Object *)*adapter)->kind = number ? ADAPTER : -1;
    return number < 2 ? S_OK : DXGI_ERROR_NOT_FOUND;
}

static HRESULT STDMETHODCALLTYPE outputs(IDXGIAdapter1 *it, UINT number, IDXGIOutput **output) {
    BOOL there = number == 0 && ((Object *)it)->kind == ADAPTER;
    *output = there ? make(OUTPUT) : NULL;
    return there ? S_OK : DXGI_ERROR_NOT_FOUND;
}

static HRESULT STDMETHODCALLTYPE output_desc(IDXGIOutput1 *it, DXGI_OUTPUT_DESC *told) {
    memset(told, 0, sizeof *told);
    lstrcpyW(told->DeviceName, fake.name);
    told->DesktopCoordinates.right = WIDTH;
    told->DesktopCoordinates.bottom = HEIGHT;
    told->AttachedToDesktop = TRUE;
    told->Rotation = fake.rotation;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE duplicate(IDXGIOutput1 *it, IUnknown *device, IDXGIOutputDuplication **made) {
    *made = NULL;
    if (((Object *)device)->kind != DEVICE) fake.mistakes++;
    if (FAILED(fake.duplicate)) return fake.duplicate;
    *made = make(DUPLICATION);
    return S_OK;
}

static void STDMETHODCALLTYPE duplication_desc(IDXGIOutputDuplication *it, DXGI_OUTDUPL_DESC *told) {
    memset(told, 0, sizeof *told);
    told->ModeDesc.Width = WIDTH;
    told->ModeDesc.Height = HEIGHT;
    told->ModeDesc.Format = DXGI_FORMAT_B8G8R8A8_UNORM;
    told->Rotation = DXGI_MODE_ROTATION_IDENTITY;
}

static Step *now(void) { return &fake.step[fake.at - 1]; }

static HRESULT STDMETHODCALLTYPE acquire(IDXGIOutputDuplication *it, UINT limit_ms, DXGI_OUTDUPL_FRAME_INFO *told, IDXGIResource **frame) {
    int i;
    *frame = NULL;
    if (fake.held) { /* real ones refuse that, too */
        fake.mistakes++;
        return DXGI_ERROR_INVALID_CALL;
    }
    if (fake.at >= fake.steps) {
        Sleep(limit_ms);
        return DXGI_ERROR_WAIT_TIMEOUT;
    }
    fake.at++;
    if (now()->acquired != S_OK) return now()->acquired;
    memset(told, 0, sizeof *told);
    if (now()->presented) {
        told->LastPresentTime.QuadPart = fake.at;
        told->AccumulatedFrames = 1;
        told->TotalMetadataBufferSize = now()->rects * sizeof(RECT) + now()->moves * sizeof(DXGI_OUTDUPL_MOVE_RECT);
        for (i = 0; i < WIDTH * HEIGHT; i++) desktop[i] = now()->colour;
    }
    if (now()->pointer) told->LastMouseUpdateTime.QuadPart = fake.at;
    fake.held = 1;
    *frame = make(DESKTOP);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE rects(IDXGIOutputDuplication *it, UINT size, RECT *into, UINT *needed) {
    *needed = now()->rects * sizeof(RECT);
    if (!fake.held) fake.mistakes++;
    if (size < *needed) return DXGI_ERROR_MORE_DATA;
    memcpy(into, now()->rect, *needed);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE moves(IDXGIOutputDuplication *it, UINT size, DXGI_OUTDUPL_MOVE_RECT *into, UINT *needed) {
    *needed = now()->moves * sizeof(DXGI_OUTDUPL_MOVE_RECT);
    if (!fake.held) fake.mistakes++;
    if (size < *needed) return DXGI_ERROR_MORE_DATA;
    memcpy(into, now()->move, *needed);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE release_frame(IDXGIOutputDuplication *it) {
    if (!fake.held) {
        fake.mistakes++;
        return DXGI_ERROR_INVALID_CALL;
    }
    fake.held = 0;
    return now()->released;
}

static HRESULT STDMETHODCALLTYPE create_texture(ID3D11Device *it, const D3D11_TEXTURE2D_DESC *wanted, const D3D11_SUBRESOURCE_DATA *from, ID3D11Texture2D **made) {
    *made = NULL;
    if (wanted->Width != WIDTH || wanted->Height != HEIGHT || wanted->MipLevels != 1 || wanted->ArraySize != 1 ||
        wanted->Format != DXGI_FORMAT_B8G8R8A8_UNORM || wanted->SampleDesc.Count != 1 || wanted->SampleDesc.Quality != 0 ||
        wanted->Usage != D3D11_USAGE_STAGING || wanted->BindFlags != 0 || wanted->CPUAccessFlags != D3D11_CPU_ACCESS_READ ||
        wanted->MiscFlags != 0 || from) {
        fake.mistakes++;
        return E_INVALIDARG;
    }
    *made = make(STAGING);
    return S_OK;
}

static void STDMETHODCALLTYPE texture_desc(ID3D11Texture2D *it, D3D11_TEXTURE2D_DESC *told) {
    memset(told, 0, sizeof *told);
    told->Width = WIDTH;
    told->Height = HEIGHT;
    told->Format = now()->wrong_format ? DXGI_FORMAT_R16G16B16A16_FLOAT : DXGI_FORMAT_B8G8R8A8_UNORM;
}

static void STDMETHODCALLTYPE copy(ID3D11DeviceContext *it, ID3D11Resource *into, UINT sub, UINT x, UINT y, UINT z, ID3D11Resource *from, UINT from_sub, const D3D11_BOX *box) {
    UINT row;
    if (((Object *)into)->kind != STAGING || ((Object *)from)->kind != DESKTOP || sub || from_sub || z || box->front || box->back != 1 ||
        x != box->left || y != box->top || box->left >= box->right || box->right > WIDTH || box->top >= box->bottom || box->bottom > HEIGHT ||
        fake.mapped) {
        fake.mistakes++;
        return;
    }
    for (row = box->top; row < box->bottom; row++)
        memcpy(staging + row * PITCH + box->left * 4, desktop + row * WIDTH + box->left, (box->right - box->left) * 4);
    fake.copies++;
    fake.copied = *box;
}

static HRESULT STDMETHODCALLTYPE map(ID3D11DeviceContext *it, ID3D11Resource *what, UINT sub, D3D11_MAP kind, UINT flags, D3D11_MAPPED_SUBRESOURCE *mapped) {
    if (((Object *)what)->kind != STAGING || sub || kind != D3D11_MAP_READ || flags || fake.mapped) {
        fake.mistakes++;
        return E_INVALIDARG;
    }
    fake.mapped = 1;
    mapped->pData = staging;
    mapped->RowPitch = PITCH;
    mapped->DepthPitch = sizeof staging;
    return S_OK;
}

static void STDMETHODCALLTYPE unmap(ID3D11DeviceContext *it, ID3D11Resource *what, UINT sub) {
    if (!fake.mapped || ((Object *)what)->kind != STAGING) fake.mistakes++;
    fake.mapped = 0;
}

#define OF .QueryInterface = (void *)query, .AddRef = (void *)add, .Release = (void *)drop

static const IDXGIFactory1Vtbl factory_table = {OF, .EnumAdapters1 = adapters};
static const IDXGIAdapter1Vtbl adapter_table = {OF, .EnumOutputs = outputs};
static const IDXGIOutput1Vtbl output_table = {OF, .GetDesc = output_desc, .DuplicateOutput = duplicate};
static const IDXGIOutputDuplicationVtbl duplication_table = {
    OF, .GetDesc = duplication_desc, .AcquireNextFrame = acquire, .GetFrameDirtyRects = rects, .GetFrameMoveRects = moves, .ReleaseFrame = release_frame};
static const ID3D11DeviceVtbl device_table = {OF, .CreateTexture2D = create_texture};
static const ID3D11DeviceContextVtbl context_table = {OF, .CopySubresourceRegion = copy, .Map = map, .Unmap = unmap};
static const ID3D11Texture2DVtbl texture_table = {OF, .GetDesc = texture_desc};
static const void *const tables[] = {
    &factory_table, &adapter_table, &output_table, &duplication_table, &device_table, &context_table, &texture_table, &texture_table};

EXPORT HRESULT WINAPI CreateDXGIFactory1(REFIID id, void **factory) {
    if (!IsEqualGUID(id, &IID_IDXGIFactory1)) fake.mistakes++;
    *factory = make(FACTORY);
    return S_OK;
}

EXPORT HRESULT WINAPI D3D11CreateDevice(
    IDXGIAdapter *adapter, D3D_DRIVER_TYPE type, HMODULE software, UINT flags, const D3D_FEATURE_LEVEL *levels, UINT count,
    UINT version, ID3D11Device **device, D3D_FEATURE_LEVEL *level, ID3D11DeviceContext **context) {
    *device = NULL;
    *context = NULL;
    if (adapter ? ((Object *)adapter)->kind != ADAPTER || type != D3D_DRIVER_TYPE_UNKNOWN || flags
                : type != D3D_DRIVER_TYPE_HARDWARE || flags != D3D11_CREATE_DEVICE_BGRA_SUPPORT)
        fake.mistakes++;
    if (software || levels || count || version != D3D11_SDK_VERSION) fake.mistakes++;
    if (FAILED(fake.device)) return fake.device;
    *device = make(DEVICE);
    *context = make(IMMEDIATE);
    return S_OK;
}

EXPORT void fake_reset(const WCHAR *name) {
    memset(&fake, 0, sizeof fake);
    memset(staging, 0, sizeof staging);
    memset(desktop, 0, sizeof desktop);
    lstrcpynW(fake.name, name, 32);
    fake.rotation = DXGI_MODE_ROTATION_IDENTITY;
}

EXPORT void fake_step(const Step *step) {
    if (fake.steps < MAX_STEPS) fake.step[fake.steps++] = *step;
}

EXPORT LONG fake_count(int which) {
    const LONG counts[] = {fake.objects, fake.mistakes, fake.held, fake.mapped, fake.copies};
    return counts[which];
}

EXPORT void fake_fail(HRESULT duplicates, HRESULT device, DWORD rotation) {
    fake.duplicate = duplicates;
    fake.device = device;
    fake.rotation = rotation;
}

EXPORT void fake_copied(RECT *box) {
    SetRect(box, fake.copied.left, fake.copied.top, fake.copied.right, fake.copied.bottom);
}
