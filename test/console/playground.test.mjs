// The playground, as a person uses it; and a program that means harm.
import { createServer } from 'node:http'
import { checkAccess, checkQuiet, equal, screenshot, truth } from './world.mjs'
import { ended, last, run, set } from './steps.mjs'

// A program runs, its streams are told apart, a question is answered, and the variable stays for the next run.
export async function session({ world, open }) {
  const page = await open()
  await page.getByRole('heading', { name: 'Type a program and run it' }).waitFor()
  await checkAccess(page, 'the empty playground')
  await run(page, 'import sys\nprint("to the one")\nprint("to the other", file=sys.stderr)\nname = input("Who? ")\nprint("hello", name)\nname.upper()')
  const answer = last(page).getByLabel('Input for the program: Who?')
  await answer.fill('Ada')
  await page.keyboard.press('Enter')
  await ended(page, 'ok')
  await last(page).locator('.text.stdout', { hasText: 'to the one' }).waitFor()
  await last(page).locator('.text.stderr', { hasText: 'to the other' }).waitFor()
  await last(page).locator('.text.stdout', { hasText: 'hello Ada' }).waitFor()
  await last(page).locator('.value', { hasText: "'ADA'" }).waitFor()
  await checkAccess(page, 'the playground with output')
  // Names of the session are completed.
  await set(page, 'nam')
  await page.keyboard.press('Control+Space')
  await page.locator('.cm-tooltip-autocomplete li', { hasText: /^name$/ }).waitFor()
  await page.keyboard.press('Escape')
  await run(page, 'print(name[::-1])\n1 / 0')
  await ended(page, 'error')
  await last(page).locator('.text.stdout', { hasText: 'adA' }).waitFor()
  await last(page).locator('.traceback', { hasText: 'ZeroDivisionError: division by zero' }).waitFor()
  await page.locator('.cm-wrong', { hasText: '1 / 0' }).waitFor()
  await screenshot(page, 'playground-error')
  checkQuiet(page, world)
}

// What is typed quicker than the page renders stays.
export async function typing({ world, open }) {
  const page = await open()
  await set(page, '')
  const client = await page.context().newCDPSession(page)
  await client.send('Emulation.setCPUThrottlingRate', { rate: 8 })
  const text = 'print("the quick brown fox jumps over the lazy dog")'
  for (let i = 0; i < 5; i++) {
    await set(page, text)
    equal(await page.locator('.cm-content').innerText(), text, 'the program')
  }
  checkQuiet(page, world)
}

// A chart of a session is a picture. The import takes long on a busy machine.
export async function chart({ world, open }) {
  const page = await open()
  await page.getByRole('tab', { name: 'Settings' }).click()
  await page.getByLabel('Timeout in seconds').fill('600')
  await page.getByRole('tab', { name: 'Output' }).click()
  await run(page, 'import matplotlib.pyplot as plt\nplt.plot([1, 2, 4])\nplt.show()')
  await ended(page, 'ok')
  const picture = last(page).locator('.picture img')
  await picture.waitFor()
  await page.waitForFunction((i) => i.complete && i.naturalWidth > 100, await picture.elementHandle())
  checkQuiet(page, world)
}

// HTML of a program that tries to reach the page, its key, its cookies, other windows and the network gets nothing.
export async function hostile({ world, open }) {
  const hits = []
  const thief = createServer((req, res) => { hits.push(req.url); res.end() }).listen(0, '127.0.0.1')
  await new Promise((done) => thief.once('listening', done))
  const there = `http://127.0.0.1:${thief.address().port}/`
  const page = await open()
  const html = `<h1>here</h1><script>top.stolen = 1; parent.postMessage('got', '*')</script><img src=x onerror="top.stolen = 2"><img src="${there}stolen-img"><svg onload="top.stolen=3"></svg>
<iframe src="javascript:top.stolen=4"></iframe><iframe srcdoc="<script>top.stolen=5</script>"></iframe><link rel=stylesheet href="${there}stolen-css"><style>@import url(${there}stolen-import); body { background: url(${there}stolen-bg) }</style>
<meta http-equiv=refresh content="0;url=${there}stolen-meta"><base href="${there}stolen/"><form action="${there}stolen-form"><input autofocus onfocus="top.stolen=6"></form><a href="javascript:top.stolen=7" id=a>link</a><a href="${there}stolen-link" target=_top>out</a>
<object data="${there}stolen-object"></object><embed src="${there}stolen-embed"><video src="${there}stolen-video"></video><div style="position:fixed;inset:0;background:url(${there}stolen-style)">over</div>`
  await run(page, `class H:\n    def _repr_html_(self): return ${JSON.stringify(html)}\n    def _repr_svg_(self): return None\nclass S:\n    def _repr_svg_(self): return ${JSON.stringify(`<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload="top.stolen=8"><script>top.stolen=9</script><image href="${there}stolen-svg" width="9" height="9"/></svg>`)}\ndisplay(H())\ndisplay(S())`)
  await ended(page, 'ok')
  const frame = page.frameLocator('iframe.framed').first()
  await frame.getByRole('heading', { name: 'here' }).waitFor()
  await page.waitForFunction((i) => i.complete, await last(page).locator('.picture img').elementHandle())
  await frame.locator('a', { hasText: 'out' }).dispatchEvent('click')
  await frame.locator('#a').dispatchEvent('click')
  const inside = page.frames().find((f) => f.url().endsWith('frame.html'))
  // Even a script in there has no origin, no storage, no cookie, no parent and no network.
  const reached = await inside.evaluate(async (url) => {
    const tries = { origin: () => origin, cookie: () => document.cookie, storage: () => sessionStorage.length, local: () => localStorage.length, parent: () => parent.document.title, top: () => { top.stolen = 10; return 'set' } }
    const got = {}
    for (const [name, f] of Object.entries(tries)) {
      try { got[name] = String(f()) } catch (err) { got[name] = err.name }
    }
    got.fetch = await fetch(url + 'stolen-fetch').then(() => 'answered', (err) => err.name)
    return got
  }, there)
  equal(reached, { origin: 'null', cookie: 'SecurityError', storage: 'SecurityError', local: 'SecurityError', parent: 'SecurityError', top: 'SecurityError', fetch: 'TypeError' }, 'what the frame reaches')
  equal(await page.evaluate(() => window.stolen), undefined, 'what the page has got')
  equal(hits, [], 'requests that have left')
  thief.close()
  truth(page.url().startsWith(world.url), `the page has left for ${page.url()}`)
}

