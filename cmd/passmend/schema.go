package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/passmend/passmend/tenants"
)

// schema is what a plugin says of its settings.
type schema struct {
	compiled   *jsonschema.Schema
	properties map[string]property
}

// property is the part of a property's schema that turns an argument into a value.
type property struct {
	Type      string `json:"type"`
	WriteOnly bool   `json:"writeOnly"`
}

// readSchema compiles a plugin's JSON Schema. Nothing is loaded from anywhere: a
// reference to another document is an error.
func readSchema(raw []byte) (schema, error) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return schema{}, fmt.Errorf("its settings schema is not JSON: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(closedLoader{})
	const name = "settings.json"
	if err := compiler.AddResource(name, document); err != nil {
		return schema{}, fmt.Errorf("its settings schema is unusable: %w", err)
	}
	compiled, err := compiler.Compile(name)
	if err != nil {
		return schema{}, fmt.Errorf("its settings schema is unusable: %w", err)
	}
	var parts struct {
		Properties map[string]property `json:"properties"`
	}
	if err := json.Unmarshal(raw, &parts); err != nil {
		return schema{}, fmt.Errorf("its settings schema is unusable: %w", err)
	}
	return schema{compiled: compiled, properties: parts.Properties}, nil
}

type closedLoader struct{}

func (closedLoader) Load(string) (any, error) {
	return nil, errors.New("references to other documents are not followed")
}

// settings turns arguments into the JSON object that the schema describes, without
// the secrets, which take part in the check by their presence alone.
func (s schema) settings(values map[string]string, secrets map[string]tenants.Secret) (json.RawMessage, error) {
	object := make(map[string]any, len(values))
	for _, name := range sortedKeys(values) {
		p, known := s.properties[name]
		if !known {
			return nil, fmt.Errorf("--set %s: is unknown; must be one of %s", name, s.names(false))
		}
		if p.WriteOnly {
			return nil, fmt.Errorf("--set %s: is a secret; give it as --secret %s=@FILE", name, name)
		}
		value, err := p.value(values[name])
		if err != nil {
			return nil, fmt.Errorf("--set %s: %w (got %q)", name, err, values[name])
		}
		object[name] = value
	}
	whole := make(map[string]any, len(object)+len(secrets))
	for name, value := range object {
		whole[name] = value
	}
	for _, name := range sortedKeys(secrets) {
		if p, known := s.properties[name]; !known || !p.WriteOnly {
			return nil, fmt.Errorf("--secret %s: is not a secret of this plugin; must be one of %s", name, s.names(true))
		}
		whole[name] = secrets[name].Reveal()
	}
	if err := s.compiled.Validate(whole); err != nil {
		return nil, s.explain(err)
	}
	return json.Marshal(object)
}

// value reads an argument as the type that the schema names; jsonschema wants
// numbers as json.Number.
func (p property) value(text string) (any, error) {
	switch p.Type {
	case "integer":
		if _, err := strconv.ParseInt(text, 10, 64); err != nil {
			return nil, errors.New("must be a whole number")
		}
		return json.Number(text), nil
	case "number":
		if _, err := strconv.ParseFloat(text, 64); err != nil {
			return nil, errors.New("must be a number")
		}
		return json.Number(text), nil
	case "boolean":
		value, err := strconv.ParseBool(text)
		if err != nil {
			return nil, errors.New("must be true or false")
		}
		return value, nil
	case "string", "":
		return text, nil
	default:
		var value any
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if decoder.Decode(&value) != nil {
			return nil, fmt.Errorf("must be JSON of type %s", p.Type)
		}
		return value, nil
	}
}

func (s schema) names(secret bool) string {
	var names []string
	for _, name := range sortedKeys(s.properties) {
		if s.properties[name].WriteOnly == secret {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// explain gives the first violation by the setting's name. The values are not
// repeated: one of them may be a secret.
func (s schema) explain(err error) error {
	var violation *jsonschema.ValidationError
	if !errors.As(err, &violation) {
		return errors.New("--set: the settings do not satisfy the plugin's schema")
	}
	for len(violation.Causes) > 0 {
		violation = violation.Causes[0]
	}
	name := strings.Join(violation.InstanceLocation, ".")
	switch broken := violation.ErrorKind.(type) {
	case *kind.Required:
		return fmt.Errorf("--set %s: is needed", strings.Join(broken.Missing, ", "))
	case *kind.DependentRequired:
		return fmt.Errorf("--set %s: is needed with %s", strings.Join(broken.Missing, ", "), broken.Prop)
	case *kind.Enum:
		return fmt.Errorf("--set %s: must be one of %v", name, broken.Want)
	case *kind.Minimum:
		return fmt.Errorf("--set %s: must be at least %s", name, broken.Want.RatString())
	case *kind.Maximum:
		return fmt.Errorf("--set %s: must be at most %s", name, broken.Want.RatString())
	default:
		return fmt.Errorf("--set %s: does not satisfy %q of the plugin's schema; the settings are %s",
			name, strings.Join(violation.ErrorKind.KeywordPath(), "."), s.names(false))
	}
}
