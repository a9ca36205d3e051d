/* bcryptprimitives.dll with its one function that the standard library of Rust imports, for Wine 8. */
#include <windows.h>
#include <ntsecapi.h>

#define MOST_BYTES (1u << 28) /* RtlGenRandom takes a ULONG */

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T count)
{
    while (count) {
        ULONG some = count > MOST_BYTES ? MOST_BYTES : (ULONG)count;
        if (!RtlGenRandom(bytes, some))
            return FALSE;
        bytes += some;
        count -= some;
    }
    return TRUE;
}
