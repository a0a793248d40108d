// Package sandboxfs reads and changes the files of a live sandbox by absolute path, from outside.
// The interpreter package opens one FS for each session that needs it.
//
// The sandbox belongs to hostile code, which may change anything in it during every call. So the
// package keeps these rules:
//
//   - Each path is resolved by openat2 (Linux 5.6) within the sandbox's own root. Links and ".." cannot lead
//     out of it, and links of /proc are refused.
//   - Each file or directory is opened by its path only, then it is judged, and only then it is read or
//     changed, by its descriptor. It must be in one of the sandbox's writable directories.
//   - The kernel checks the permissions of the sandbox's user, not those of this process.
//   - Every search is bounded in entries, depth and time.
//
// Failures: a job.RefusedError says what the present state of the files does not allow.
package sandboxfs
