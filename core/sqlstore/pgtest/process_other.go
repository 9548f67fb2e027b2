//go:build !linux

package pgtest

import "syscall"

// bindToParent: only Linux has it.
func bindToParent(*syscall.SysProcAttr) {}
