// The only script of frame.html, the document in which HTML of untrusted code is shown. The document is in a sandbox without an
// origin, and its policy lets it load nothing and run no other script. What is removed here would do no harm either; it is the
// second line, against holes in the first.
const refused = 'script, link, meta, base, iframe, frame, frameset, object, embed, applet, form, template, portal, audio, video, source'
const out = document.getElementById('out')!

function shown(html: string): DocumentFragment {
  const parsed = new DOMParser().parseFromString(html, 'text/html')
  for (const e of parsed.querySelectorAll(refused)) e.remove()
  for (const e of parsed.querySelectorAll('*')) {
    for (const a of [...e.attributes]) {
      if (/^on/i.test(a.name) || /^\s*(javascript|data|vbscript):/i.test(a.value) && !/^(src|style)$/i.test(a.name)) e.removeAttribute(a.name)
    }
  }
  const all = document.createDocumentFragment()
  for (const style of parsed.head.querySelectorAll('style')) all.append(document.importNode(style, true))
  for (const node of [...parsed.body.childNodes]) all.append(document.importNode(node, true))
  return all
}

addEventListener('message', (e) => {
  if (e.source !== parent || typeof e.data !== 'object' || e.data === null) return
  if (typeof e.data.theme === 'string') document.documentElement.dataset.theme = e.data.theme
  if (typeof e.data.html === 'string') out.replaceChildren(shown(e.data.html))
})
// Links lead nowhere: a frame that has left would show a page of somebody's choice.
addEventListener('click', (e) => {
  if (e.target instanceof Element && e.target.closest('a, area')) e.preventDefault()
}, true)
new ResizeObserver(() => parent.postMessage({ height: Math.ceil(out.getBoundingClientRect().height) }, '*')).observe(out)
parent.postMessage({ ready: true }, '*')
