# long run(char *first, long offset)
#
# The instructions of program.py's CODE for x86-64, which carry a table of steps out. A test
# assembles this file with GNU as and compares. To change them, change this file and put into
# program.py what the failing test prints.
#
# A step is nine words: what to do, six arguments, what the result must be, and where to go on
# if it is something else. The word before the first step gets the last result. Execution begins at
# the step that is offset bytes after the first. run returns the argument of LEAVE; or, where a
# result was not what it must be and no step is named to go on at, the complement of the offset of
# that step, which is below 0.
#
# rbx is the step, rbp the first step. Both belong to the caller, so they are saved. The kernel
# changes rax, rcx and r11 only. Nothing else is written but the table's result and what the
# steps name. There is no call and no other use of the stack.

        .intel_syntax noprefix
        .text

        .equ    LEAVE, -1
        .equ    COPY, -2
        .equ    SAME, -3
        .equ    JUMP, -4
        .equ    ADD, -5
        .equ    MOST, -6
        .equ    MAY_FAIL, -10001
        .equ    FORK, -10002
        .equ    NO_ERROR, -10003
        .equ    CELL, 8
        .equ    STEP, 9 * CELL

run:    push    rbx
        push    rbp
        mov     rbp, rdi
        lea     rbx, [rdi + rsi]

next:   mov     rax, [rbx]                      # what to do
        mov     rdi, [rbx + 1 * CELL]           # the first three arguments
        mov     rsi, [rbx + 2 * CELL]
        mov     rdx, [rbx + 3 * CELL]
        test    rax, rax
        js      own                             # no system call
        mov     r10, [rbx + 4 * CELL]
        mov     r8, [rbx + 5 * CELL]
        mov     r9, [rbx + 6 * CELL]
        syscall

# The result is in rax. Compare it with what it must be.
check:  mov     [rbp - CELL], rax
        mov     rcx, [rbx + 7 * CELL]
        cmp     rcx, MAY_FAIL
        je      good
        cmp     rcx, FORK
        jne     2f
        test    rax, rax
        jz      good                            # in the new process
        js      failed                          # there is none
        jmp     bad                             # in the old process
2:      cmp     rcx, NO_ERROR
        jne     3f
        test    rax, rax
        js      bad
        jmp     good
3:      cmp     rax, rcx                        # a certain number
        jne     bad

good:   add     rbx, STEP
        jmp     next

# Steps that are no system calls. The count of rep is in rcx.
own:    mov     rcx, rdx
        cmp     rax, COPY
        je      copy
        cmp     rax, SAME
        je      same
        cmp     rax, JUMP
        je      jump
        cmp     rax, ADD
        je      sum
        cmp     rax, MOST
        je      most
        mov     rax, rdi                        # LEAVE
        jmp     return

copy:   rep movsb                               # from rsi to rdi
        jmp     good

sum:    mov     rcx, [rsi]
        add     [rdi], rcx
        jmp     good

most:   mov     rcx, [rsi]
        cmp     rcx, [rdi]
        jle     good
        mov     [rdi], rcx
        jmp     good

same:   xor     eax, eax                        # sets ZF, which cmpsb leaves for a count of 0
        repe cmpsb
        setne   al                              # 1 if they differ
        jmp     check

# Where else to go on, if a step is named.
bad:    mov     rdi, [rbx + 8 * CELL]
        test    rdi, rdi
        js      failed
jump:   lea     rbx, [rbp + rdi]
        jmp     next

failed: mov     rax, rbx
        sub     rax, rbp
        not     rax
return: pop     rbp
        pop     rbx
        ret
