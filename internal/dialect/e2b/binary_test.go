package e2b

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	_ "google.golang.org/protobuf/types/known/timestamppb" // a type of the messages
)

// envdMessages are the messages of envd, as their public interface has them: the name of a message, and its fields with numbers and types.
const envdMessages = `
PathRequest path=1:string
ListRequest path=1:string depth=2:uint32
MoveRequest source=1:string destination=2:string
Entry name=1:string type=2:FileType path=3:string size=4:int64 mode=5:uint32 permissions=6:string owner=7:string group=8:string modified_time=9:google.protobuf.Timestamp symlink_target=10:string metadata=11:map
EntryAnswer entry=1:Entry
EntriesAnswer entries=1:*Entry
WatchRequest path=1:string recursive=2:bool include_entry=3:bool
FileEvent name=1:string type=2:EventType entry=3:Entry
WatchAnswer start=1:Empty filesystem=2:FileEvent keepalive=3:Empty
WatcherRequest watcher_id=1:string
EventsAnswer events=1:*FileEvent
Empty
Config cmd=1:string args=2:*string envs=3:map cwd=4:string
Size cols=1:uint32 rows=2:uint32
PTY size=1:Size
Selector pid=1:uint32 tag=2:string
StartRequest process=1:Config pty=2:PTY tag=3:string stdin=4:bool
SelectRequest process=1:Selector
SignalRequest process=1:Selector signal=2:Signal
UpdateRequest process=1:Selector pty=2:PTY
Input stdin=1:bytes pty=2:bytes
InputRequest process=1:Selector input=2:Input
Info config=1:Config pid=2:uint32 tag=3:string
Processes processes=1:*Info
Start pid=1:uint32
Data stdout=1:bytes stderr=2:bytes pty=3:bytes
End exit_code=1:sint32 exited=2:bool status=3:string error=4:string
Event start=1:Start data=2:Data end=3:End keepalive=4:Empty
ProcessEvent event=1:Event
StreamData input=2:Input
StreamInput start=1:SelectRequest data=2:StreamData keepalive=3:Empty
`

var envdEnums = map[string]map[string]int32{
	"FileType":  {"FILE_TYPE_UNSPECIFIED": 0, "FILE_TYPE_FILE": 1, "FILE_TYPE_DIRECTORY": 2, "FILE_TYPE_SYMLINK": 3},
	"EventType": {"EVENT_TYPE_UNSPECIFIED": 0, "EVENT_TYPE_CREATE": 1, "EVENT_TYPE_WRITE": 2, "EVENT_TYPE_REMOVE": 3, "EVENT_TYPE_RENAME": 4, "EVENT_TYPE_CHMOD": 5},
	"Signal":    {"SIGNAL_UNSPECIFIED": 0, "SIGNAL_SIGKILL": 9, "SIGNAL_SIGTERM": 15},
}

// envdFile describes the messages for Go's own implementation of Protocol Buffers, with which this package's is compared.
func envdFile(t *testing.T) protoreflect.FileDescriptor {
	t.Helper()
	file := &descriptorpb.FileDescriptorProto{Name: new("envd.proto"), Package: new("envd"), Syntax: new("proto2"), Dependency: []string{"google/protobuf/timestamp.proto"}}
	for name, values := range envdEnums {
		e := &descriptorpb.EnumDescriptorProto{Name: new(name)}
		for value, number := range values {
			e.Value = append(e.Value, &descriptorpb.EnumValueDescriptorProto{Name: new(value), Number: new(number)})
		}
		file.EnumType = append(file.EnumType, e)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(envdMessages), "\n") {
		words := strings.Fields(line)
		m := &descriptorpb.DescriptorProto{Name: new(words[0])}
		for _, word := range words[1:] {
			addField(m, word)
		}
		file.MessageType = append(file.MessageType, m)
	}
	made, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// addField adds a field, such as name=1:*string for a list of texts.
func addField(m *descriptorpb.DescriptorProto, word string) {
	name, rest, _ := strings.Cut(word, "=")
	number, kind, _ := strings.Cut(rest, ":")
	f := &descriptorpb.FieldDescriptorProto{Name: new(name), Number: new(int32(0)), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
	for _, digit := range number {
		*f.Number = *f.Number*10 + digit - '0'
	}
	kind, isList := strings.CutPrefix(kind, "*")
	if isList || kind == "map" {
		f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	}
	plain := map[string]descriptorpb.FieldDescriptorProto_Type{
		"string": descriptorpb.FieldDescriptorProto_TYPE_STRING, "bytes": descriptorpb.FieldDescriptorProto_TYPE_BYTES, "bool": descriptorpb.FieldDescriptorProto_TYPE_BOOL,
		"uint32": descriptorpb.FieldDescriptorProto_TYPE_UINT32, "int64": descriptorpb.FieldDescriptorProto_TYPE_INT64, "sint32": descriptorpb.FieldDescriptorProto_TYPE_SINT32,
	}
	switch {
	case plain[kind] != 0:
		f.Type = plain[kind].Enum()
	case envdEnums[kind] != nil:
		f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_ENUM.Enum(), new(".envd."+kind)
	case kind == "map":
		entry := &descriptorpb.DescriptorProto{Name: new(strings.ToUpper(name[:1]) + name[1:] + "Entry"), Options: &descriptorpb.MessageOptions{MapEntry: new(true)}}
		addField(entry, "key=1:string")
		addField(entry, "value=2:string")
		m.NestedType = append(m.NestedType, entry)
		f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), new(".envd."+m.GetName()+"."+entry.GetName())
	case strings.Contains(kind, "."):
		f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), new("."+kind)
	default:
		f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), new(".envd."+kind)
	}
	m.Field = append(m.Field, f)
}

// envdAnswers and envdRequests are messages by the names of their types.
func envdAnswers() map[string][]any {
	at := time.Date(2026, 11, 30, 1, 2, 3, 4000, time.UTC)
	file := entryInfo{Name: "é", Type: typeFile, Path: "/home/user/é", Size: 1 << 40, Mode: 0o644, Permissions: "-rw-r--r--", Owner: "user", Group: "user", Modified: at}
	link := entryInfo{Name: "l", Type: typeLink, Modified: time.Unix(0, 0).UTC(), Target: "/x", Metadata: map[string]string{"a": "1", "": "", "é": "ü"}}
	events := []any{}
	for _, e := range []processEvent{{}, {}, {}, {}, {}, {}} {
		events = append(events, &e)
	}
	of := func(i int) *processEvent { return events[i].(*processEvent) } //nolint:forcetypeassert // they are
	of(0).Event.Start = &startEvent{1 << 20}
	of(1).Event.Data = &dataEvent{Stdout: []byte{0, 0xff, 'x'}}
	of(2).Event.Data = &dataEvent{Stderr: []byte("e")}
	of(3).Event.Data = &dataEvent{PTY: []byte("p")}
	of(4).Event.End = bySignal("killed")
	of(5).Event.KeepAlive = &empty{}
	return map[string][]any{
		"EntryAnswer":    {&entryAnswer{file}, &entryAnswer{link}},
		"EntriesAnswer":  {&entriesAnswer{[]entryInfo{file, link}}},
		"WatchAnswer":    {&watchAnswer{Start: &empty{}}, &watchAnswer{Filesystem: &fileEvent{"a/b", eventRename, nil}}, &watchAnswer{Filesystem: &fileEvent{"a", eventChmod, &file}}, &watchAnswer{KeepAlive: &empty{}}},
		"EventsAnswer":   {&eventsAnswer{[]fileEvent{{"a", eventCreate, &link}, {"", eventWrite, nil}, {"c", eventRemove, nil}}}},
		"WatcherRequest": {&watcherRequest{"id"}},
		"ProcessEvent":   events,
		"End":            {&endEvent{Exited: true, Status: "exit status 0"}, &endEvent{ExitCode: 1 << 30}},
		"Processes":      {&processes{[]processInfo{{processConfig{"/bin/sh", []string{"-c", ""}, map[string]string{"A": "1"}, new("")}, 7, new("tag")}, {PID: 8}}}},
		"Empty":          {&empty{}},
	}
}

func envdRequests() map[string][]any {
	pid, tag := selector{PID: new(7)}, selector{Tag: new("é")}
	return map[string][]any{
		"PathRequest":    {&pathRequest{"/é"}, &pathRequest{}},
		"ListRequest":    {&listRequest{"a", 3}},
		"MoveRequest":    {&moveRequest{"a", "b"}},
		"WatchRequest":   {&watchRequest{"a", true, true}, &watchRequest{Path: "a"}},
		"WatcherRequest": {&watcherRequest{"id"}},
		"StartRequest": {
			&startRequest{processConfig{"/bin/bash", []string{"-l", "", "x"}, map[string]string{"A": "1", "B": ""}, new("/tmp")}, &pty{&ptySize{80, 24}}, new("t"), new(false)},
			&startRequest{Process: processConfig{Cmd: "x"}, Stdin: new(true)},
		},
		"SelectRequest": {&selectRequest{pid}, &selectRequest{tag}},
		"SignalRequest": {&signalRequest{pid, sigKill}, &signalRequest{tag, sigTerm}},
		"UpdateRequest": {&updateRequest{pid, &pty{&ptySize{65535, 1}}}, &updateRequest{pid, nil}},
		"InputRequest":  {&inputRequest{pid, input{Stdin: []byte{0, 0xff}}}, &inputRequest{tag, input{PTY: []byte("p")}}},
		"StreamInput":   {&streamInput{Start: &selectRequest{pid}}, &streamInput{}},
	}
}

// TestBinaryAnswers: Go's implementation reads what is written here, as the same JSON.
func TestBinaryAnswers(t *testing.T) {
	t.Parallel()
	file, codec := envdFile(t), &binaryCodec{}
	for name, all := range envdAnswers() {
		for _, message := range all {
			theirs := dynamicpb.NewMessage(file.Messages().ByName(protoreflect.Name(name)))
			data, err := codec.Marshal(message)
			if err == nil {
				err = proto.Unmarshal(data, theirs)
			}
			if err != nil || len(theirs.GetUnknown()) > 0 {
				t.Errorf("%s %+v: %x %v %x", name, message, data, err, theirs.GetUnknown())
				continue
			}
			sameJSON(t, name, theirs, message)
		}
	}
}

// sameJSON compares a message of Go's implementation with one of here.
func sameJSON(t *testing.T, name string, theirs proto.Message, ours any) {
	t.Helper()
	text, err := protojson.Marshal(theirs)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	read := reflect.New(reflect.TypeOf(ours).Elem()).Interface()
	if err := (jsonCodec{}).Unmarshal(text, read); err != nil {
		t.Errorf("%s: %s %v", name, text, err)
	}
	if diff := cmp.Diff(ours, read, allFields); diff != "" {
		t.Errorf("%s: %s\n%s", name, text, diff)
	}
}

// allFields: the messages have unexported types.
var allFields = cmp.Exporter(func(reflect.Type) bool { return true })

// TestBinaryRequests: what Go's implementation writes is read here.
func TestBinaryRequests(t *testing.T) {
	t.Parallel()
	file, codec := envdFile(t), &binaryCodec{}
	for name, all := range envdRequests() {
		for _, message := range all {
			theirs := dynamicpb.NewMessage(file.Messages().ByName(protoreflect.Name(name)))
			text, err := jsonCodec{}.Marshal(message)
			if err == nil {
				err = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(text, theirs)
			}
			if err != nil {
				t.Errorf("%s %s: %v", name, text, err)
				continue
			}
			data, err := proto.Marshal(theirs)
			if err != nil {
				t.Fatal(err)
			}
			read := reflect.New(reflect.TypeOf(message).Elem()).Interface()
			if err := codec.Unmarshal(data, read); err != nil {
				t.Errorf("%s %x: %v", name, data, err)
			}
			if diff := cmp.Diff(message, read, allFields); diff != "" {
				t.Errorf("%s %x:\n%s", name, data, diff)
			}
			for cut := range data { // a message that ends early is refused, or has its first fields
				_ = codec.Unmarshal(data[:cut], reflect.New(reflect.TypeOf(message).Elem()).Interface())
			}
		}
	}
}

// TestBinaryHostile: what is no message is refused, and what is not known is left out.
func TestBinaryHostile(t *testing.T) {
	t.Parallel()
	codec := &binaryCodec{}
	path := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "a")
	with := func(more ...byte) string { return string(path) + string(more) }
	for name, tt := range map[string]struct{ data, want string }{
		"unknown numbers":             {with(0x98, 0x06, 0xff, 0x01), "a"},
		"unknown 64 bits":             {with(0x99, 0x06, 1, 2, 3, 4, 5, 6, 7, 8), "a"},
		"unknown 32 bits":             {with(0x9d, 0x06, 1, 2, 3, 4), "a"},
		"an unknown text":             {with(0x9a, 0x06, 2, 'x', 'y'), "a"},
		"an unknown group":            {with(0x9b, 0x06, 0x08, 1, 0x9c, 0x06), "a"},
		"a known field of other type": {with(0x08, 5), "a"},
		"the last value counts":       {with(0x0a, 1, 'b'), "b"},
		"nothing":                     {"", ""},
		"a length beyond the end":     {with(0x0a, 5, 'b'), "!"},
		"a length of 4 GiB":           {with(0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f), "!"},
		"a length without an end":     {with(0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1), "!"},
		"half a tag":                  {with(0x80), "!"},
		"a tag of 0":                  {with(0x02, 0), "!"},
		"the type 7":                  {with(0x0f), "!"},
		"a group without an end":      {with(0x9b, 0x06), "!"},
		"an end without a group":      {with(0x9c, 0x06), "!"},
		"groups in groups":            {with([]byte(strings.Repeat("\x9b\x06", 20000))...), "!"},
		"a text that is not UTF-8":    {with(0x0a, 1, 0xff), "!"},
	} {
		var read pathRequest
		if err := codec.Unmarshal([]byte(tt.data), &read); err != nil {
			read.Path = "!"
		}
		if read.Path != tt.want {
			t.Errorf("%s: %q, want %q", name, read.Path, tt.want)
		}
	}
}

// TestBinaryNumbers: a number that a field cannot have is refused or cut off, as in JSON or by Protocol Buffers.
func TestBinaryNumbers(t *testing.T) {
	t.Parallel()
	codec := &binaryCodec{}
	var size ptySize
	if err := codec.Unmarshal(protowire.AppendVarint([]byte{0x08}, 70000), &size); err == nil {
		t.Errorf("70000 columns: %+v", size)
	}
	var list listRequest
	if err := codec.Unmarshal(protowire.AppendVarint([]byte{0x10}, 1<<64-1), &list); err != nil || list.Depth <= 0 {
		t.Errorf("the largest depth: %+v %v", list, err)
	}
	var how signalRequest
	if err := codec.Unmarshal([]byte{0x10, 7}, &how); err != nil || how.Signal != "7" {
		t.Errorf("a signal without a name: %+v %v", how, err)
	}
	text := entryAnswer{entryInfo{Name: "\xff"}}
	if data, err := codec.Marshal(&text); err != nil || !strings.Contains(string(data), "\uFFFD") {
		t.Errorf("a name that is not UTF-8: %x %v", data, err)
	}
	var start startRequest
	if err := codec.Unmarshal([]byte{0x0a, 4, 0x1a, 2, 0x0a, 9}, &start); err == nil {
		t.Errorf("half an entry of a map: %+v", start)
	}
}

// TestBinaryValues: nor may a message in the binary form be small as bytes and large as values.
func TestBinaryValues(t *testing.T) {
	t.Parallel()
	codec := &binaryCodec{}
	for n, taken := range map[int]bool{8000: true, 9000: false} {
		var config, whole []byte
		for range n {
			config = protowire.AppendString(protowire.AppendTag(config, 2, protowire.BytesType), "")
		}
		whole = protowire.AppendBytes(protowire.AppendTag(whole, 1, protowire.BytesType), config)
		var got startRequest
		if err := codec.Unmarshal(whole, &got); (err == nil) != taken {
			t.Errorf("%d arguments: %v", n, err)
		}
	}
}
