//go:build !faults

package main

import "github.com/passmend/passmend/core"

// inbox is where accepted requests go.
func (s *service) inbox() core.Inbox { return s.store }
