package job

// InUse is the use of a bound.
type InUse struct {
	Used    int64
	Allowed int64 // negative for no bound
}

// Unbounded is the Allowed of something without a bound.
const Unbounded = -1

// atMost applies another bound; 0 is none.
func (u InUse) atMost(most int64) InUse {
	if most > 0 && (u.Allowed < 0 || most < u.Allowed) {
		u.Allowed = most
	}
	return u
}

// PresentUse is what an owner has at present of each bounded thing.
type PresentUse struct {
	Bytes, Files      InUse // bytes of records, and of files
	Waiting, Sessions InUse
	Memory, Disk      InUse // bytes that its live sessions may take
}

// OfKey applies the limits of a key.
func (p PresentUse) OfKey(k *KeyLimits) PresentUse {
	b := k.SessionBounds()
	p.Waiting, p.Sessions = p.Waiting.atMost(int64(k.MostWaiting())), p.Sessions.atMost(int64(b.MostOwn))
	p.Memory, p.Disk = p.Memory.atMost(b.OwnMemory), p.Disk.atMost(b.OwnDisk)
	return p
}
