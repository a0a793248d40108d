package cli

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/kaa-run/kaa/client"
)

func figureName(number int, ext string) string { return fmt.Sprintf("figure-%d.%s", number, ext) }

// figureTypes returns the media types of pictures, with the extensions of their files.
func figureTypes() map[string]string {
	return map[string]string{
		"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp",
		"image/svg+xml": "svg", "application/pdf": "pdf",
	}
}

// figuresOf returns the values that are pictures: the contents of each by file extension.
func figuresOf(values []client.Value) []map[string][]byte {
	var figures []map[string][]byte
	for _, v := range values {
		forms := map[string][]byte{}
		for kind, ext := range figureTypes() {
			var text string
			if json.Unmarshal(v.Data[kind], &text) != nil {
				continue
			}
			content := []byte(text)
			if kind != "image/svg+xml" {
				var err error
				if content, err = base64.StdEncoding.DecodeString(text); err != nil {
					continue
				}
			}
			forms[ext] = content
		}
		if len(forms) > 0 {
			figures = append(figures, forms)
		}
	}
	return figures
}
