package job

import (
	"regexp"
	"strings"
)

// packagesOf are the packages of modules that are called otherwise. PyPI has packages with most of these modules' names, which are
// something else.
var packagesOf = map[string]string{ //nolint:gochecknoglobals // a constant
	"Bio": "biopython", "Crypto": "pycryptodome", "Levenshtein": "levenshtein", "MySQLdb": "mysqlclient", "OpenSSL": "pyopenssl", "PIL": "pillow", "attr": "attrs", "bs4": "beautifulsoup4",
	"cairosvg": "cairosvg", "cv2": "opencv-python-headless", "dateutil": "python-dateutil", "docx": "python-docx", "dotenv": "python-dotenv", "fitz": "pymupdf",
	"git": "gitpython", "google.protobuf": "protobuf", "igraph": "igraph", "jose": "python-jose", "jwt": "pyjwt", "kafka": "kafka-python", "ldap": "python-ldap", "magic": "python-magic",
	"mpl_toolkits": "matplotlib", "multipart": "python-multipart", "nacl": "pynacl", "OpenGL": "pyopengl", "pkg_resources": "setuptools", "pptx": "python-pptx", "psycopg2": "psycopg2-binary",
	"redis": "redis", "rest_framework": "djangorestframework", "ruamel": "ruamel.yaml", "serial": "pyserial", "skimage": "scikit-image", "sklearn": "scikit-learn", "slugify": "python-slugify",
	"telegram": "python-telegram-bot", "usb": "pyusb", "websocket": "websocket-client", "win32api": "pywin32", "wx": "wxpython", "yaml": "pyyaml", "zmq": "pyzmq",
}

var (
	missingModule  = regexp.MustCompile(`^No module named '([A-Za-z_][A-Za-z0-9_.]{0,99})'`)
	missingLibrary = regexp.MustCompile(`^(lib[A-Za-z0-9_+.-]{1,99}\.so[0-9.]*): cannot open shared object file`)
)

// Explain adds what the caller can do about the error. installed are the packages of the request; installs says whether this Kaa
// installs packages.
func (e *Error) Explain(installed []string, installs bool) {
	if found := missingLibrary.FindStringSubmatch(e.Value); found != nil && e.Name == "ImportError" {
		e.Hint = "The runtime lacks the system library " + found[1] + ", which packages cannot bring. Use a package that does without it (opencv-python-headless in the place of opencv-python), or ask the operator of this Kaa to install it."
		return
	}
	if line := pipLineShown.FindStringSubmatch(e.Traceback); line != nil && e.Name == "SyntaxError" {
		e.Hint = pipHint(line[1], installs)
		return
	}
	if e.Name == "SyntaxError" && notebookLine.MatchString(e.Traceback) {
		e.Hint = "The line is for a notebook, and no Python. Start programs with subprocess, or as commands of a session (POST /v1/sessions/{id}/commands)."
		return
	}
	found := missingModule.FindStringSubmatch(e.Value)
	if found == nil || e.Name != "ModuleNotFoundError" {
		return
	}
	name := packageOf(found[1])
	for _, requirement := range installed {
		if parts := requirementForm.FindStringSubmatch(requirement); parts != nil && PackageName(parts[1]) == PackageName(name) {
			return // it was installed, and has no such module
		}
	}
	if !installs {
		e.Hint = "The runtime does not have it, and this Kaa installs no packages. GET /v1/runtimes lists the runtimes; the operator can set KAA_PACKAGES=on."
		return
	}
	e.Hint = `The runtime does not have it. The package ` + name + ` probably does: send it in the request, as "packages": ["` + name + `"]. Where that is refused, the operator can set KAA_PACKAGES=on.`
}

// pipLineShown is a line for pip in the traceback of a SyntaxError. Such a line is left in the code where packages are off, or if it is indented.
var pipLineShown = regexp.MustCompile(`(?m)^[ \t]*[%!] *(?:python3? +-m +)?pip3? +install\b(.*)$`)

// notebookLine is a line for a shell, or for IPython, in the traceback of a SyntaxError.
var notebookLine = regexp.MustCompile(`(?m)^    (?:! *[A-Za-z./~]|%%?[A-Za-z]+(?: |$))`)

// pipHint says what to do in the place of such a line.
func pipHint(arguments string, installs bool) string {
	if !installs {
		return "The line is for pip, and no Python; this Kaa installs no packages. GET /v1/runtimes lists what the runtimes have; the operator can set KAA_PACKAGES=on."
	}
	names := []string{}
	packages, _ := pipArguments(arguments)
	for _, text := range packages {
		if _, requirement, why := readRequirement(text); why == "" && len(names) < maxPackages {
			names = append(names, requirement)
		}
	}
	list := "[…]"
	if len(names) > 0 {
		list = `["` + strings.Join(names, `", "`) + `"]`
	}
	return `The line is for pip, and no Python. Name the packages in the request, as "packages": ` + list + `, or begin the line in the first column. Where that is refused, the operator can set KAA_PACKAGES=on.`
}

// packageOf returns the package that probably has a module.
func packageOf(module string) string {
	top, _, _ := strings.Cut(module, ".")
	for _, name := range []string{module, top} {
		if other, known := packagesOf[name]; known {
			return other
		}
	}
	return PackageName(top)
}
