// CodeMirror and xterm.js set attributes named style, and xterm.js makes style elements, which the policy of the page refuses. The same is
// allowed by way of objects: the style of an element, and sheets that are constructed. This module leads the one way to the other. It
// allows nothing that a script of the page could not do anyway.
const set = Element.prototype.setAttribute
Element.prototype.setAttribute = function (name: string, value: string) {
  if (name === 'style' && this instanceof HTMLElement) this.style.cssText = value
  else set.call(this, name, value)
}

class Sheet extends HTMLElement {
  readonly rules = new CSSStyleSheet()
  connectedCallback() { document.adoptedStyleSheets = [...document.adoptedStyleSheets, this.rules] }
  disconnectedCallback() { document.adoptedStyleSheets = document.adoptedStyleSheets.filter((s) => s !== this.rules) }
}
Object.defineProperty(Sheet.prototype, 'textContent', { set(this: Sheet, text: string) { this.rules.replaceSync(text) }, get: () => '' })
customElements.define('kaa-sheet', Sheet)

const create = Document.prototype.createElement
document.createElement = function (name: string, options?: ElementCreationOptions) {
  return create.call(document, name.toLowerCase() === 'style' ? 'kaa-sheet' : name, options)
} as typeof document.createElement

export {}
