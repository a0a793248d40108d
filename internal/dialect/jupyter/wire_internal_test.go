package jupyter

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"testing"

	"github.com/coder/websocket"
)

// TestWire: what one side encodes is what the other one decodes, in both protocols.
func TestWire(t *testing.T) {
	t.Parallel()
	for _, v1 := range []bool{false, true} {
		w := newWriter(v1)
		kind, data, err := w.encode(chanIOPub, "stream", json.RawMessage(`{"msg_id":"p"}`), fields{"text": "é<"})
		if err != nil {
			t.Fatal(err)
		}
		m, err := decode(kind, v1, data)
		if err != nil {
			t.Fatalf("v1 %v: %v", v1, err)
		}
		if m.Channel != chanIOPub || m.typ != "stream" || m.id == "" || string(m.Content) != `{"text":"é<"}` {
			t.Errorf("v1 %v: %+v", v1, m)
		}
	}
}

// TestBadWire: messages that are none are errors, and no panics.
func TestBadWire(t *testing.T) {
	t.Parallel()
	_, good, err := newWriter(true).encode(chanShell, "execute_request", nil, fields{})
	if err != nil {
		t.Fatal(err)
	}
	offsets := func(all ...uint64) (data []byte) {
		for _, n := range all {
			data = binary.LittleEndian.AppendUint64(data, n)
		}
		return data
	}
	for name, data := range map[string][]byte{
		"nothing": nil, "short": good[:7], "cut": good[:60], "no offsets": offsets(0), "many offsets": offsets(1 << 60), "all ones": offsets(^uint64(0)),
		"backwards": offsets(6, 56, 50, 50, 50, 50, 50), "beyond": offsets(6, 56, 1<<62, 1<<62, 1<<62, 1<<62, 1<<62),
		"no JSON": append(offsets(6, 56, 57, 58, 59, 60, 61), "aaaaa"...),
	} {
		for _, v1 := range []bool{false, true} {
			if m, err := decode(websocket.MessageBinary, v1, data); !errors.Is(err, errMessage) {
				t.Errorf("%s, v1 %v: %+v, %v", name, v1, m, err)
			}
		}
	}
	for _, text := range []string{"", "[]", "{}", `{"header": 5}`, `{"header": {"msg_type": 5}}`, `{"header": {"msg_id": "a"}}`} {
		if m, err := decode(websocket.MessageText, false, []byte(text)); !errors.Is(err, errMessage) {
			t.Errorf("%s: %+v, %v", text, m, err)
		}
	}
	parts := append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 1), 8), `{"channel":"shell","header":{"msg_type":"t"}}`...)
	if m, err := decode(websocket.MessageBinary, false, parts); err != nil || m.typ != "t" {
		t.Errorf("with buffers: %+v, %v", m, err)
	}
}
