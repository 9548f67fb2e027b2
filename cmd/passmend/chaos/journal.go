package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// journal is a file of JSON lines. What append was asked to sync is on disk when
// it returns.
type journal struct {
	mu   sync.Mutex
	file *os.File
}

func openJournal(path string) (*journal, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return &journal{file: file}, nil
}

func (j *journal) append(line any, synced bool) error {
	encoded, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("encode journal line: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.file.Write(append(encoded, '\n')); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	if !synced {
		return nil
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("sync journal: %w", err)
	}
	return nil
}

func (j *journal) close() error { return j.file.Close() }

// read gives every line of a journal in order.
func read[T any](path string) ([]T, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	var lines []T
	for encoded := range bytes.Lines(content) {
		var line T
		if err := json.Unmarshal(encoded, &line); err != nil {
			return nil, fmt.Errorf("read journal: line %d: %w", len(lines)+1, err)
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// ReadOperations gives what a Load recorded.
func ReadOperations(path string) ([]Operation, error) { return read[Operation](path) }

// ReadMails gives what a Sink recorded.
func ReadMails(path string) ([]Mail, error) { return read[Mail](path) }
