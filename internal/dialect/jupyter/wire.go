package jupyter

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// protocolV1 is the subprotocol whose messages are binary. Without it, messages are JSON.
const protocolV1 = "v1.kernel.websocket.jupyter.org"

// The channels of a kernel.
const (
	chanShell   = "shell"
	chanControl = "control"
	chanIOPub   = "iopub"
	chanStdin   = "stdin"
)

// messageVersion is the version of the messaging protocol.
const messageVersion = "5.3"

// message is one of a client.
type message struct {
	Channel string          `json:"channel"`
	Header  json.RawMessage `json:"header"`
	Content json.RawMessage `json:"content"`
	id, typ string          // of the header
}

var errMessage = errors.New("not a message of Jupyter")

// decode reads a message of a client. Buffers are of comms, which Kaa has none of.
func decode(kind websocket.MessageType, v1 bool, data []byte) (*message, error) {
	var m message
	var err error
	switch {
	case kind == websocket.MessageText:
		err = json.Unmarshal(data, &m)
	case v1:
		err = decodeV1(data, &m)
	default:
		err = decodeParts(data, &m)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMessage, err)
	}
	var h struct {
		ID   string `json:"msg_id"`
		Type string `json:"msg_type"`
	}
	if json.Unmarshal(m.Header, &h) != nil || h.Type == "" {
		return nil, fmt.Errorf("%w: the header has no msg_type", errMessage)
	}
	if m.id, m.typ = h.ID, h.Type; len(m.Content) == 0 {
		m.Content = json.RawMessage("{}")
	}
	return &m, nil
}

// mostParts bounds the parts of a message.
const mostParts = 1 << 12

// decodeV1 reads offsets of 8 bytes, and then the channel, header, parent header, metadata, content and buffers.
func decodeV1(data []byte, m *message) error {
	if len(data) < 8 {
		return errors.New("it is too short")
	}
	n := binary.LittleEndian.Uint64(data)
	if n < 6 || n > mostParts || uint64(len(data)) < 8*(n+1) {
		return errors.New("it has a wrong number of offsets")
	}
	offsets := make([]uint64, n)
	last := 8 * (n + 1)
	for i := range offsets {
		offsets[i] = binary.LittleEndian.Uint64(data[8*(i+1):])
		if offsets[i] < last || offsets[i] > uint64(len(data)) {
			return errors.New("it has a wrong offset")
		}
		last = offsets[i]
	}
	part := func(i int) []byte { return data[offsets[i]:offsets[i+1]] }
	m.Channel, m.Header, m.Content = string(part(0)), part(1), part(4)
	if !json.Valid(m.Header) || !json.Valid(m.Content) {
		return errors.New("a part is no JSON")
	}
	return nil
}

// decodeParts reads offsets of 4 bytes, and then JSON and buffers.
func decodeParts(data []byte, m *message) error {
	if len(data) < 8 {
		return errors.New("it is too short")
	}
	n := binary.BigEndian.Uint32(data)
	if n < 1 || n > mostParts || uint64(len(data)) < 4*(uint64(n)+1) {
		return errors.New("it has a wrong number of offsets")
	}
	begin, end := uint64(binary.BigEndian.Uint32(data[4:])), uint64(len(data))
	if n > 1 {
		end = uint64(binary.BigEndian.Uint32(data[8:]))
	}
	if begin < 4*(uint64(n)+1) || begin > end || end > uint64(len(data)) {
		return errors.New("it has a wrong offset")
	}
	return json.Unmarshal(data[begin:end], m)
}

// writer encodes the messages of one connection.
type writer struct {
	session string
	v1      bool
	n       atomic.Int64
}

func newWriter(v1 bool) *writer { return &writer{session: rand.Text(), v1: v1} }

// emptyObject is where a message has nothing to say.
func emptyObject() json.RawMessage { return json.RawMessage("{}") }

// encode is a message of ours. The parent is the header of what it is about; empty without one.
func (w *writer) encode(channel, typ string, parent json.RawMessage, content any) (websocket.MessageType, []byte, error) {
	id := w.session + "_" + strconv.FormatInt(w.n.Add(1), 10)
	if !bytes.HasPrefix(bytes.TrimSpace(parent), []byte("{")) {
		parent = emptyObject()
	}
	header, err := marshal(map[string]string{
		"msg_id": id, "msg_type": typ, "session": w.session, "username": "kaa", "date": stamp(time.Now()), "version": messageVersion,
	})
	if err != nil {
		return 0, nil, err
	}
	body, err := marshal(content)
	if err != nil {
		return 0, nil, err
	}
	if w.v1 {
		return websocket.MessageBinary, encodeV1(channel, header, parent, emptyObject(), body), nil
	}
	data, err := marshal(map[string]any{
		"channel": channel, "msg_id": id, "msg_type": typ, "header": json.RawMessage(header), "parent_header": parent,
		"metadata": emptyObject(), "content": json.RawMessage(body), "buffers": []any{},
	})
	return websocket.MessageText, data, err
}

func marshal(v any) ([]byte, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // no page embeds it without escaping
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}

func encodeV1(channel string, parts ...[]byte) []byte {
	n := len(parts) + 2
	at := uint64(8 * (n + 1))
	data := binary.LittleEndian.AppendUint64(nil, uint64(n))
	data = binary.LittleEndian.AppendUint64(data, at)
	at += uint64(len(channel))
	data = binary.LittleEndian.AppendUint64(data, at)
	for _, part := range parts {
		at += uint64(len(part))
		data = binary.LittleEndian.AppendUint64(data, at)
	}
	data = append(data, channel...)
	for _, part := range parts {
		data = append(data, part...)
	}
	return data
}
