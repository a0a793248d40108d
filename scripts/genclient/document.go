package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// document is the part of an OpenAPI document that the client is made of.
type document struct {
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]*schema }
}

type operation struct {
	OperationID string
	Summary     string
	Parameters  []parameter
	RequestBody *struct{ Content map[string]media }
	Responses   map[string]struct{ Content map[string]media }
	// method and path are where the document has it.
	method, path string
}

type parameter struct {
	Name, In, Description string
	Required              bool
	// Explode has each item of a list as a parameter of its own. Otherwise commas separate them.
	Explode bool
	Schema  *schema
}

type media struct{ Schema *schema }

type schema struct {
	Ref                  string `json:"$ref"`
	Type                 types
	Format               string
	Description          string
	Properties           map[string]*schema
	Required             []string
	Items                *schema
	AdditionalProperties additional
	AnyOf                []*schema
}

// types are the types of a schema: one, or several of which one may be null.
type types struct {
	name     string
	nullable bool
}

func (t *types) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		t.name = one
		return nil
	}
	var several []string
	if err := json.Unmarshal(text, &several); err != nil {
		return err
	}
	for _, name := range several {
		switch {
		case name == "null":
			t.nullable = true
		case t.name != "":
			return fmt.Errorf("a schema of the types %v: the client needs one type", several)
		default:
			t.name = name
		}
	}
	return nil
}

// additional is the schema of further properties, if a schema allows them.
type additional struct {
	allowed bool
	schema  *schema
}

func (a *additional) UnmarshalJSON(text []byte) error {
	if json.Unmarshal(text, &a.allowed) == nil {
		return nil
	}
	a.allowed, a.schema = true, new(schema)
	return json.Unmarshal(text, a.schema)
}

// operations returns the operations in the order of their names.
func (d document) operations() []operation {
	var all []operation
	for path, methods := range d.Paths {
		for method, op := range methods {
			op.method, op.path = strings.ToUpper(method), path
			all = append(all, op)
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.OperationID, b.OperationID) })
	return all
}

// in returns the parameters of a kind: path or query.
func (o operation) in(kind string) []parameter {
	return slices.DeleteFunc(slices.Clone(o.Parameters), func(p parameter) bool { return p.In != kind })
}

// answer returns the media types of the answers of success, and the schema of the JSON among them.
func (o operation) answer() (kinds map[string]bool, of *schema) {
	kinds = map[string]bool{}
	for _, code := range slices.Sorted(maps.Keys(o.Responses)) {
		if code[0] != '2' {
			continue
		}
		for kind, m := range o.Responses[code].Content {
			kinds[kind] = true
			if kind == "application/json" && of == nil {
				of = m.Schema
			}
		}
	}
	return kinds, of
}
