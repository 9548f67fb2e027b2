package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// object is a JSON object whose members keep the order in which they were written.
type object struct {
	names   []string
	members map[string]any
}

func (o *object) set(name string, value any) {
	if _, there := o.members[name]; !there {
		o.names = append(o.names, name)
	}
	o.members[name] = value
}

// MarshalJSON implements json.Marshaler.
func (o *object) MarshalJSON() ([]byte, error) {
	var text bytes.Buffer
	text.WriteByte('{')
	for i, name := range o.names {
		if i > 0 {
			text.WriteByte(',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(o.members[name])
		if err != nil {
			return nil, err
		}
		text.Write(key)
		text.WriteByte(':')
		text.Write(value)
	}
	text.WriteByte('}')
	return text.Bytes(), nil
}

// Access to a tree of objects: what is not there, or of another type, is the zero
// value.

func (o *object) object(name string) *object {
	found, ok := o.members[name].(*object)
	if !ok {
		return &object{}
	}
	return found
}

func (o *object) list(name string) []any {
	found, _ := o.members[name].([]any)
	return found
}

func (o *object) text(name string) string {
	found, _ := o.members[name].(string)
	return found
}

func (o *object) has(name string) bool { _, there := o.members[name]; return there }

// parseOrdered reads YAML with its anchors and merge keys resolved.
func parseOrdered(text []byte) (*object, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	value, err := orderedValue(&document)
	if err != nil {
		return nil, err
	}
	root, ok := value.(*object)
	if !ok {
		return nil, fmt.Errorf("want an object, got %T", value)
	}
	return root, nil
}

func orderedValue(n *yaml.Node) (any, error) {
	switch n.Kind {
	case yaml.DocumentNode:
		return orderedValue(n.Content[0])
	case yaml.AliasNode:
		return orderedValue(n.Alias)
	case yaml.SequenceNode:
		items := make([]any, len(n.Content))
		for i, item := range n.Content {
			var err error
			if items[i], err = orderedValue(item); err != nil {
				return nil, err
			}
		}
		return items, nil
	case yaml.MappingNode:
		return orderedObject(n)
	default:
		var value any
		err := n.Decode(&value)
		return value, err
	}
}

func orderedObject(n *yaml.Node) (*object, error) {
	result := &object{members: make(map[string]any)}
	own := make([]string, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		value, err := orderedValue(n.Content[i+1])
		if err != nil {
			return nil, err
		}
		if key.Tag != "!!merge" {
			result.set(key.Value, value)
			own = append(own, key.Value)
			continue
		}
		merged, ok := value.(*object)
		if !ok {
			return nil, fmt.Errorf("line %d: only an object can be merged", key.Line)
		}
		for _, name := range merged.names {
			if !slices.Contains(own, name) {
				result.set(name, merged.members[name])
			}
		}
	}
	return result, nil
}
