// Formulas in LaTeX as MathML, which browsers set with their own fonts. What comes out goes to frame.html, as all HTML of programs does.
import temml from 'temml'
import { Marked, type TokenizerAndRendererExtension } from 'marked'

const longest = 16 << 10 // characters of a text whose formulas are set; a longer one would hold up the page

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')

// formula is one formula; one that cannot be read is shown as it was written, with the reason.
function formula(tex: string, block: boolean): string {
  try {
    return temml.renderToString(tex.trim(), { displayMode: block, throwOnError: false, trust: false, maxExpand: 500 })
  } catch {
    return `<code>${escaped(tex)}</code>`
  }
}

// A dollar that is followed by a space, or that a digit follows at its end, is money.
const inline = String.raw`\$(?!\s)((?:[^$\\]|\\[\s\S])+?)(?<=\S)\$(?!\d)`
const any = new RegExp(String.raw`\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\]|\\\(([\s\S]+?)\\\)|` + inline, 'g')

// latex is a text/latex of a value: a formula, or a text with formulas between $, $$, \( and \[.
export function latex(text: string): string {
  if (text.length > longest) return `<pre>${escaped(text)}</pre>`
  let html = '', at = 0
  for (const m of text.matchAll(any)) {
    html += escaped(text.slice(at, m.index))
    const [, dollars, brackets, parentheses, one] = m
    html += formula(dollars ?? brackets ?? parentheses ?? one ?? '', dollars !== undefined || brackets !== undefined)
    at = m.index + m[0].length
  }
  return at === 0 ? formula(text, true) : `<div class="lines">${html}${escaped(text.slice(at))}</div>`
}

function extension(name: string, level: 'block' | 'inline', from: string, pattern: RegExp, block: boolean): TokenizerAndRendererExtension {
  return {
    name, level,
    start(src) {
      const found = src.indexOf(from)
      return found < 0 ? undefined : found
    },
    tokenizer(src) {
      const m = pattern.exec(src)
      return m && !m[1]!.includes('\n\n') ? { type: name, raw: m[0], text: m[1] } : undefined
    },
    renderer: (token) => formula(String(token.text), block),
  }
}

const marked = new Marked({ gfm: true }, {
  extensions: [
    extension('displayed', 'block', '$$', /^\$\$([\s\S]+?)\$\$[ \t]*(?:\n|$)/, true),
    extension('displayedInline', 'inline', '$$', /^\$\$([\s\S]+?)\$\$/, true),
    extension('formula', 'inline', '$', new RegExp('^' + inline), false),
  ],
})

// markdown is Markdown with formulas.
export const markdown = async (text: string): Promise<string> => text.length > longest ? await new Marked({ gfm: true }).parse(text) : await marked.parse(text)
