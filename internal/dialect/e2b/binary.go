package e2b

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// binaryCodec has the same messages in the binary form of Protocol Buffers. A field of a message has its number there in the tag
// pb; "zigzag" after it is for the type sint32. Each caller of the SDK's protocol that asks for this form gets it; the SDKs do not.
type binaryCodec struct {
	known sync.Map // the fields of a message by its reflect.Type
}

// Name is the codec's part of content types.
func (*binaryCodec) Name() string { return "proto" }

// Marshal writes a message.
func (c *binaryCodec) Marshal(message any) ([]byte, error) {
	return c.append(nil, reflect.ValueOf(message).Elem()), nil
}

// Unmarshal reads a message. Fields that are not known are left out.
func (c *binaryCodec) Unmarshal(data []byte, message any) error {
	return c.reading(data).read(data, reflect.ValueOf(message).Elem())
}

// enum is a text in JSON, which is a number in the binary form.
type enum interface {
	numbers() map[string]protowire.Number
}

// binaryField is a field of a message.
type binaryField struct {
	number protowire.Number
	kind   protowire.Type
	zigzag bool
	index  int // of the field of the Go type
}

// fieldsOf returns the fields of a message.
func (c *binaryCodec) fieldsOf(message reflect.Type) []binaryField {
	if known, ok := c.known.Load(message); ok {
		return known.([]binaryField) //nolint:forcetypeassert // there are no others
	}
	var all []binaryField
	for f := range message.Fields() {
		tag, zigzag := strings.CutSuffix(f.Tag.Get("pb"), ",zigzag")
		if number, err := strconv.Atoi(tag); err == nil {
			all = append(all, binaryField{protowire.Number(number), //nolint:gosec // a constant of this package
				binaryKind(f.Type), zigzag, f.Index[0]})
		}
	}
	c.known.Store(message, all)
	return all
}

// binaryKind is how the values of a type are written.
func binaryKind(t reflect.Type) protowire.Type {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() { //nolint:exhaustive // messages have no others
	case reflect.Struct, reflect.Map, reflect.Slice:
		return protowire.BytesType
	case reflect.String:
		if !t.Implements(reflect.TypeFor[enum]()) {
			return protowire.BytesType
		}
	}
	return protowire.VarintType
}

// entryField is a field of an entry of a map.
type entryField struct {
	Key   string `pb:"1"`
	Value string `pb:"2"`
}

// timestamp is google.protobuf.Timestamp.
type timestamp struct {
	Seconds int64 `pb:"1"`
	Nanos   int32 `pb:"2"`
}

// append appends a message.
func (c *binaryCodec) append(to []byte, message reflect.Value) []byte {
	for _, f := range c.fieldsOf(message.Type()) {
		to = c.appendField(to, f, message.Field(f.index))
	}
	return to
}

// appendField appends a field with all its values. One that is empty has none, unless its being there says something.
func (c *binaryCodec) appendField(to []byte, f binaryField, v reflect.Value) []byte {
	switch of := v.Interface().(type) {
	case time.Time:
		at := timestamp{of.Unix(), int32(of.Nanosecond())} //nolint:gosec // below 1e9
		return c.appendValue(to, f, reflect.ValueOf(at))
	case map[string]string:
		for _, key := range slices.Sorted(maps.Keys(of)) {
			to = c.appendValue(to, f, reflect.ValueOf(entryField{key, of[key]}))
		}
		return to
	case []byte:
		if len(of) == 0 {
			return to
		}
		return protowire.AppendBytes(protowire.AppendTag(to, f.number, f.kind), of)
	}
	switch {
	case v.Kind() == reflect.Pointer && v.IsNil(), v.Kind() != reflect.Pointer && v.Kind() != reflect.Struct && v.IsZero():
		return to
	case v.Kind() == reflect.Pointer:
		return c.appendValue(to, f, v.Elem())
	case v.Kind() == reflect.Slice:
		for _, one := range v.Seq2() {
			to = c.appendValue(to, f, one)
		}
		return to
	}
	return c.appendValue(to, f, v)
}

// appendValue appends a value, also one that is zero.
func (c *binaryCodec) appendValue(to []byte, f binaryField, v reflect.Value) []byte {
	to = protowire.AppendTag(to, f.number, f.kind)
	if e, ok := reflect.TypeAssert[enum](v); ok {
		return protowire.AppendVarint(to, uint64(e.numbers()[v.String()])) //nolint:gosec // none is negative
	}
	switch {
	case v.Kind() == reflect.Struct:
		return protowire.AppendBytes(to, c.append(nil, v))
	case v.Kind() == reflect.String:
		return protowire.AppendString(to, strings.ToValidUTF8(v.String(), "\uFFFD")) // as encoding/json
	case v.Kind() == reflect.Bool:
		return protowire.AppendVarint(to, protowire.EncodeBool(v.Bool()))
	case v.CanUint():
		return protowire.AppendVarint(to, v.Uint())
	case f.zigzag:
		return protowire.AppendVarint(to, protowire.EncodeZigZag(v.Int()))
	}
	return protowire.AppendVarint(to, uint64(v.Int())) //nolint:gosec // two's complement
}

// malformed is an error of protowire.
func malformed(code int) error {
	return fmt.Errorf("the message is malformed: %w", protowire.ParseError(code))
}
