package e2b

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// A value costs some hundred bytes at most, so a message has one in so many bytes, beyond those of any small message.
	bytesPerValue = 64
	freeValues    = 8192
)

// reading is the decoding of one message.
type reading struct {
	*binaryCodec
	left int // values that may come
}

func (c *binaryCodec) reading(data []byte) *reading {
	return &reading{c, freeValues + len(data)/bytesPerValue}
}

var errValues = errors.New("the message has too many values for its size")

// read reads a message into one that may have values already, which it adds to. Types of messages do not contain themselves, so the depth of
// what a client sends is bounded.
func (c *reading) read(data []byte, message reflect.Value) error {
	fields := c.fieldsOf(message.Type())
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return malformed(n)
		}
		data = data[n:]
		if n = protowire.ConsumeFieldValue(number, kind, data); n < 0 {
			return malformed(n)
		}
		value := data[:n]
		data = data[n:]
		if c.left--; c.left < 0 {
			return errValues
		}
		i := slices.IndexFunc(fields, func(f binaryField) bool { return f.number == number && f.kind == kind })
		if i < 0 {
			continue
		}
		if err := c.readField(value, fields[i], message.Field(fields[i].index)); err != nil {
			return fmt.Errorf("field %d: %w", number, err)
		}
	}
	return nil
}

// readField reads a value of a field.
func (c *reading) readField(value []byte, f binaryField, into reflect.Value) error {
	if into.Kind() == reflect.Pointer {
		if into.IsNil() {
			into.Set(reflect.New(into.Type().Elem()))
		}
		into = into.Elem()
	}
	if f.kind == protowire.VarintType {
		n, _ := protowire.ConsumeVarint(value)
		return readNumber(n, f, into)
	}
	content, _ := protowire.ConsumeBytes(value)
	return c.readBytes(content, into)
}

// errText: Protocol Buffers has no other texts.
var errText = errors.New("a text is not UTF-8")

// readBytes reads a value that has a length.
func (c *reading) readBytes(content []byte, into reflect.Value) error {
	switch into.Kind() { //nolint:exhaustive // messages have no others
	case reflect.String:
		if !utf8.Valid(content) {
			return errText
		}
		into.SetString(string(content))
	case reflect.Struct:
		return c.read(content, into)
	case reflect.Map:
		var entry entryField
		if err := c.read(content, reflect.ValueOf(&entry).Elem()); err != nil {
			return err
		}
		if into.IsNil() {
			into.Set(reflect.MakeMap(into.Type()))
		}
		into.SetMapIndex(reflect.ValueOf(entry.Key), reflect.ValueOf(entry.Value))
	case reflect.Slice:
		if into.Type().Elem().Kind() == reflect.Uint8 {
			into.SetBytes(bytes.Clone(content)) // the buffer is used again
			return nil
		}
		one := reflect.New(into.Type().Elem()).Elem()
		if err := c.readBytes(content, one); err != nil {
			return err
		}
		into.Set(reflect.Append(into, one))
	}
	return nil
}

// readNumber reads a number, a truth value or the number of an enum. All of them have 32 bits in what clients send.
func readNumber(n uint64, f binaryField, into reflect.Value) error {
	if e, ok := reflect.TypeAssert[enum](into); ok {
		into.SetString(strconv.FormatInt(int64(int32(n)), 10)) //nolint:gosec // as Protocol Buffers cuts numbers off
		for name, number := range e.numbers() {
			if uint64(number) == n { //nolint:gosec // none is negative
				into.SetString(name)
			}
		}
		return nil
	}
	small := uint64(uint32(n)) //nolint:gosec // as Protocol Buffers cuts numbers off
	switch {
	case into.Kind() == reflect.Bool:
		into.SetBool(n != 0)
	case into.CanUint() && into.OverflowUint(small):
		return fmt.Errorf("%d is too large", small)
	case into.CanUint():
		into.SetUint(small)
	case f.zigzag:
		into.SetInt(protowire.DecodeZigZag(small))
	default:
		into.SetInt(int64(min(small, math.MaxInt32)))
	}
	return nil
}
