//go:build !linux

package testenv

import "syscall"

// dieWithParent: only Linux has a parent-death signal.
func dieWithParent() *syscall.SysProcAttr { return nil }

// Loopback: other systems have one address of loopback.
func Loopback() string { return "127.0.0.1" }
