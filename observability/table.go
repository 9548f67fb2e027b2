package observability

import (
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// maxLabels is the most labels that a family of the catalogue has.
const maxLabels = 3

// labelSet is the values of a family's labels, in their order.
type labelSet [maxLabels]string

// table is a family and its series, of which there are never more than the
// catalogue says: when the room for accounts is used up a series goes to "_other",
// and when all of it is, to "other" in every label. Safe for many goroutines; a
// series that is there already costs one look under a read lock.
type table[T any] struct {
	family  family
	account int // place of the account label, or -1
	create  func(values ...string) T
	remove  func(values ...string) bool

	mu    sync.RWMutex
	known map[labelSet]T
	named int // of known
}

func newTable[T any](f family, create func(values ...string) T, remove func(values ...string) bool) *table[T] {
	return &table[T]{
		family:  f,
		account: slices.IndexFunc(f.labels, func(l label) bool { return l.name == accountLabel }),
		create:  create,
		remove:  remove,
		known:   make(map[labelSet]T),
	}
}

// with gives the series of these label values.
func (t *table[T]) with(values ...string) T {
	var set labelSet
	copy(set[:], values)
	t.mu.RLock()
	series, ok := t.known[set]
	t.mu.RUnlock()
	if ok {
		return series
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.add(set)
}

func (t *table[T]) add(set labelSet) T {
	if series, ok := t.known[set]; ok {
		return series
	}
	switch {
	case t.names(set):
		if t.named >= t.family.named {
			set[t.account] = otherAccount
			return t.add(set)
		}
		t.named++
	case set != t.rest() && !t.roomBesideRest():
		return t.add(t.rest())
	}
	series := t.create(set[:len(t.family.labels)]...)
	t.known[set] = series
	return series
}

// names says whether the set names an account.
func (t *table[T]) names(set labelSet) bool { return t.account >= 0 && set[t.account] != otherAccount }

// rest is the set that stands for what there is no room for.
func (t *table[T]) rest() (set labelSet) {
	for i := range t.family.labels {
		set[i] = other
	}
	if t.account >= 0 {
		set[t.account] = otherAccount
	}
	return set
}

// roomBesideRest: the rest has its place kept.
func (t *table[T]) roomBesideRest() bool {
	taken := len(t.known) - t.named
	if _, there := t.known[t.rest()]; !there {
		taken++
	}
	return taken < t.family.sets() || len(t.family.labels) == 0
}

// forget removes the series whose label at place has the value.
func (t *table[T]) forget(place int, value string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for set := range t.known {
		if set[place] != value {
			continue
		}
		t.remove(set[:len(t.family.labels)]...)
		if delete(t.known, set); t.names(set) {
			t.named--
		}
	}
}

// forgetAccount removes what is shown of an account that has no name any more.
func (t *table[T]) forgetAccount(id string) { t.forget(t.account, id) }

// families registers entries of the catalogue. A name that comes twice is a mistake
// of this package and panics.
type families struct{ *prometheus.Registry }

const namespace = "passmend"

func (r families) counter(name string) *table[prometheus.Counter] {
	f := familyOf(name, counter)
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: f.help}, f.labelNames())
	r.MustRegister(vec)
	return newTable(f, vec.WithLabelValues, vec.DeleteLabelValues)
}

func (r families) gauge(name string) *table[prometheus.Gauge] {
	f := familyOf(name, gauge)
	vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: f.help}, f.labelNames())
	r.MustRegister(vec)
	return newTable(f, vec.WithLabelValues, vec.DeleteLabelValues)
}

func (r families) histogram(name string) *table[prometheus.Observer] {
	f := familyOf(name, histogram)
	options := prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: f.help, Buckets: f.buckets}
	if f.native {
		options.NativeHistogramBucketFactor = nativeFactor
		options.NativeHistogramMaxBucketNumber = nativeBuckets
		options.NativeHistogramMinResetDuration = nativeReset
	}
	vec := prometheus.NewHistogramVec(options, f.labelNames())
	r.MustRegister(vec)
	return newTable(f, vec.WithLabelValues, vec.DeleteLabelValues)
}
