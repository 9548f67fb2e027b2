package sdktest

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/passmend/passmend/plugins/sdk"
)

var describeCases = []Case{
	{"Describe names the provider and what it takes", nothing, describe},
	{"Describe gives a semantic version", nothing, describeVersion},
	{"Describe gives the same answer to every caller", nothing, describeTwice},
	{"Describe answers within 250 ms", nothing, describeQuickly},
	{"The permissions are well-formed", nothing, permissions},
	{"The schema describes an object", nothing, schemaObject},
	{"The schema marks every secret as writeOnly", nothing, schemaSecrets},
	{"The schema gives every setting a type and a label", nothing, schemaLabels},
	{"The schema's places in a form are numbers", nothing, schemaOrder},
	{"The schema's show-if marks name settings that exist", nothing, schemaShowIf},
	{"The schema requires nothing that it does not have", nothing, schemaRequired},
	{"The schema knows every setting that the target uses", nothing, schemaKnows},
	{"Health answers within a second", nothing, health},
	{"Health answers while a Send is waiting", nothing, healthWhileBusy},
}

// Limits on what a form can show, in characters.
const (
	maxSchema = 256 << 10 // bytes
	maxLabel  = 64
	maxHelp   = 512
)

// description asks again: what the kit keeps was asked once, at the start.
func (r *run) describe() sdk.Description {
	ctx, cancel := r.context()
	defer cancel()
	d, err := r.Provider.Describe(ctx)
	if err != nil {
		r.fatalf("%s", tell(err))
	}
	return d
}

func describe(r *run) {
	d := r.describe()
	if d.Name != r.Name || !isName(d.Name) {
		r.errorf("name %q is not %q, or not 2 to 32 of a-z, 0-9 and -", d.Name, r.Name)
	}
	if len(d.Contents) == 0 {
		r.errorf("no contents")
	}
	for _, content := range d.Contents {
		if content != sdk.ContentMail && content != sdk.ContentEvent {
			r.errorf("unknown content %q", content)
		}
	}
}

func isName(name string) bool {
	return len(name) >= 2 && len(name) <= 32 && !strings.ContainsFunc(name, func(c rune) bool {
		return c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z')
	})
}

// semantic is a version by semver.org, 2.0.0, without its finest points.
var semantic = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

func describeVersion(r *run) {
	if version := r.describe().Version; !semantic.MatchString(version) || len(version) > 64 {
		r.errorf("version %q is not a semantic one of at most 64 characters", version)
	}
}

func describeTwice(r *run) {
	first := r.describe()
	var asking sync.WaitGroup
	var mu sync.Mutex
	for range 8 {
		asking.Go(func() {
			ctx, cancel := r.context()
			defer cancel()
			again, err := r.Provider.Describe(ctx)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				r.errorf("%s", tell(err))
			case first.Name != again.Name, first.Version != again.Version,
				!slices.Equal(first.Contents, again.Contents), !bytes.Equal(first.SettingsSchema, again.SettingsSchema):
				r.errorf("the answers differ")
			}
		})
	}
	asking.Wait()
}

// describeQuickly takes the best of three, for a machine has other things to do.
func describeQuickly(r *run) {
	best := time.Hour
	for range 3 {
		began := time.Now()
		r.describe()
		best = min(best, time.Since(began))
	}
	if best > 250*time.Millisecond {
		r.errorf("it took %s", best)
	}
}

var hostName = regexp.MustCompile(`^(\*|(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*)$`)

func permissions(r *run) {
	p := r.describe().Permissions
	for _, host := range p.Hosts {
		if !hostName.MatchString(host) {
			r.errorf("host %q is neither a name in lower case nor *", host)
		}
	}
	if slices.Contains(p.Ports, 0) {
		r.errorf("port 0")
	}
	if p.MemoryBytes != 0 && p.MemoryBytes < 16<<20 {
		r.errorf("%d bytes of memory are less than a process needs (16 MiB)", p.MemoryBytes)
	}
}

// schema is the part of a settings schema that the kit looks at.
type schema struct {
	Type       string              `json:"type"`
	Required   []string            `json:"required"`
	Properties map[string]property `json:"properties"`
}

type property struct {
	Type        any                        `json:"type"`
	Enum        []any                      `json:"enum"`
	Const       any                        `json:"const"`
	Title       string                     `json:"title"`
	Description string                     `json:"description"`
	WriteOnly   bool                       `json:"writeOnly"`
	Order       any                        `json:"x-order"`
	ShowIf      map[string]json.RawMessage `json:"x-show-if"`
}

func (r *run) schema() schema {
	text := r.describe().SettingsSchema
	if len(text) > maxSchema {
		r.fatalf("the schema has %d bytes, more than 256 KiB", len(text))
	}
	var s schema
	if err := json.Unmarshal(text, &s); err != nil {
		r.fatalf("the schema cannot be read: %v", err)
	}
	return s
}

func schemaObject(r *run) {
	if s := r.schema(); s.Type != "object" {
		r.errorf("its type is %q", s.Type)
	}
}

func schemaSecrets(r *run) {
	s := r.schema()
	for name := range r.Settings.Secrets {
		if !s.Properties[name].WriteOnly {
			r.errorf("secret %q is not a writeOnly property", name)
		}
	}
	for name := range r.values(r.Settings) {
		if s.Properties[name].WriteOnly {
			r.errorf("%q is writeOnly, but the target gives it openly", name)
		}
	}
}

// values reads the open settings, or gives none.
func (*kit) values(settings sdk.Settings) map[string]json.RawMessage {
	var values map[string]json.RawMessage
	_ = json.Unmarshal(settings.Values, &values) // other cases are about that
	return values
}

func schemaLabels(r *run) {
	for name, p := range r.schema().Properties {
		if p.Type == nil && p.Enum == nil && p.Const == nil {
			r.errorf("%s has no type", name)
		}
		if n := utf8.RuneCountInString(p.Title); n == 0 || n > maxLabel || !isPrintable(p.Title) {
			r.errorf("the title of %s is not 1 to %d printable characters", name, maxLabel)
		}
		if utf8.RuneCountInString(p.Description) > maxHelp || !isPrintable(p.Description) {
			r.errorf("the description of %s is not at most %d printable characters", name, maxHelp)
		}
	}
}

func isPrintable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) })
}

func schemaOrder(r *run) {
	for name, p := range r.schema().Properties {
		if _, number := p.Order.(float64); p.Order != nil && !number {
			r.errorf("x-order of %s is no number", name)
		}
	}
}

func schemaShowIf(r *run) {
	s := r.schema()
	for name, p := range s.Properties {
		for other := range p.ShowIf {
			if _, known := s.Properties[other]; !known || other == name {
				r.errorf("x-show-if of %s names %q, which is no other setting", name, other)
			}
		}
	}
}

func schemaRequired(r *run) {
	s := r.schema()
	for _, name := range s.Required {
		if _, known := s.Properties[name]; !known {
			r.errorf("%q is required and is not there", name)
		}
	}
}

func schemaKnows(r *run) {
	s := r.schema()
	for name := range r.values(r.Settings) {
		if _, known := s.Properties[name]; !known {
			r.errorf("the setting %q is not in the schema", name)
		}
	}
}

func (r *run) health() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	over, err := ended(ctx, 1100*time.Millisecond, r.Provider.Health)
	switch {
	case !over:
		r.errorf("no answer within a second")
	case err != nil:
		r.errorf("%s", tell(err))
	}
}

func health(r *run) { r.health() }

func healthWhileBusy(r *run) {
	request := r.stalledRequest()
	ctx, cancel := r.context()
	var sending sync.WaitGroup
	sending.Go(func() { _, _ = r.trySend(ctx, request) })
	time.Sleep(50 * time.Millisecond)
	r.health()
	cancel()
	sending.Wait()
}
