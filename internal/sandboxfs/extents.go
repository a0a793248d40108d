package sandboxfs

import (
	"archive/tar"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A file with holes is in a snapshot as the parts that it has, one after the other. Records of its own in the header have its
// length and the places of the parts. The formats of tar for such files are not written by package tar.
const (
	lengthRecord = "KAA.length"
	partsRecord  = "KAA.parts" // offset,length;offset,length
	// maxParts bounds the parts of one file. The last one of a file with more of them has holes in it, as zeros.
	maxParts = 1000
)

// extent is a part of a file that is no hole.
type extent struct{ at, length int64 }

type extents []extent

func (e extents) bytes() (sum int64) {
	for _, part := range e {
		sum += part.length
	}
	return sum
}

// holes returns the parts of a file.
func holes(file *os.File, st *unix.Stat_t) extents {
	all := extents{{0, st.Size}}
	if st.Blocks*512 >= st.Size {
		return all
	}
	var parts extents
	for at := int64(0); at < st.Size; {
		begin, err := unix.Seek(int(file.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || begin >= st.Size {
			break // the rest is a hole
		}
		if err != nil {
			return all
		}
		end, err := unix.Seek(int(file.Fd()), begin, unix.SEEK_HOLE)
		if err != nil || end <= begin || len(parts) == maxParts-1 {
			end = st.Size
		}
		end = min(end, st.Size)
		parts = append(parts, extent{begin, end - begin})
		at = end
	}
	return parts
}

// note writes the parts into a header, unless the file has no holes.
func (e extents) note(h *tar.Header, length int64) {
	if e.bytes() == length {
		return
	}
	texts := make([]string, len(e))
	for i, part := range e {
		texts[i] = fmt.Sprintf("%d,%d", part.at, part.length)
	}
	h.PAXRecords = map[string]string{lengthRecord: strconv.FormatInt(length, 10), partsRecord: strings.Join(texts, ";")}
}

var errParts = errors.New("an entry of a snapshot has wrong parts")

// partsOf reads what note has written.
func partsOf(h *tar.Header) (e extents, length int64, err error) {
	text, has := h.PAXRecords[lengthRecord]
	if !has {
		return extents{{0, h.Size}}, h.Size, nil
	}
	if length, err = strconv.ParseInt(text, 10, 64); err != nil {
		return nil, 0, errParts
	}
	last := int64(0)
	for part := range strings.SplitSeq(h.PAXRecords[partsRecord], ";") {
		if part == "" {
			continue
		}
		at, size, _ := strings.Cut(part, ",")
		a, errAt := strconv.ParseInt(at, 10, 64)
		n, errSize := strconv.ParseInt(size, 10, 64)
		if errAt != nil || errSize != nil || a < last || n < 0 || n > math.MaxInt64-a || a+n > length {
			return nil, 0, errParts
		}
		last = a + n
		e = append(e, extent{a, n})
	}
	if e.bytes() != h.Size {
		return nil, 0, errParts
	}
	return e, length, nil
}
