# PyObject *enter(PyObject *callable, void **pointer, PyObject *(*call)(PyObject *, PyObject *))
#
# The instructions of frames.py's CODE for x86-64. A test assembles this file with GNU as and
# compares. call is PyObject_CallObject. While it runs, *pointer, which is the interpreter's to its
# current frame, is NULL. The old value is put back before anything in Python is executed.
#
# rbx and r12 belong to the caller, so they are saved; r12 twice, because the stack must be
# aligned to 16 bytes at a call.

        .intel_syntax noprefix
        .text

        push    rbx
        push    r12
        push    r12
        mov     rbx, rsi
        mov     r12, [rsi]
        mov     qword ptr [rsi], 0
        xor     esi, esi                        # no arguments for the callable
        call    rdx
        mov     [rbx], r12
        pop     r12
        pop     r12
        pop     rbx
        ret
