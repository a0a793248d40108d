// What else the playground does: make test-long.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkAccess, checkQuiet, during, equal, keys, screenshot, truth } from './world.mjs'
import { ended, last, prints, run, set } from './steps.mjs'

// Colours and progress bars look as in a terminal; other control characters and markup are shown as they are.
export async function terminalOutput({ world, open }) {
  const page = await open()
  await run(page, 'import sys\nfor n in range(101): print(f"\\r{n} %", end="")\nprint("\\n\\x1b[31mred\\x1b[0m <b>bold</b> \\x00")\nprint("first\\nsecond\\x1b[1A\\rFIRST")')
  await ended(page, 'ok')
  equal((await last(page).locator('.text.stdout pre > div').allInnerTexts()).map((t) => t.trimEnd()), ['100 %', 'red <b>bold</b> \u2400', 'FIRST', 'second'], 'the lines')
  equal(await last(page).locator('.text .f1').innerText(), 'red', 'what is red')
  checkQuiet(page, world)
}

// A chart is seen as a picture, a table in its frame, JSON as a tree, and files come back.
export async function values({ world, open }) {
  const page = await open()
  await run(page, [
    'import matplotlib.pyplot as plt', 'plt.plot([1, 2, 4])', 'plt.title("Growth")', 'open("out.csv", "w").write("a,b\\n1,2\\n")', 'import pandas as pd', 'display(pd.DataFrame({"city": ["Oslo"]}))',
    'class J:', '    def _repr_json_(self): return {"list": [1, {"deep": True}]}', 'display(J())', 'class M:', '    def _repr_markdown_(self): return "# Heading"', 'display(M())', 'plt.show()',
  ].join('\n'))
  await ended(page, 'ok')
  const picture = last(page).locator('.picture img')
  await picture.waitFor()
  await page.waitForFunction((i) => i.complete && i.naturalWidth > 100, await picture.elementHandle())
  await page.frameLocator('iframe.framed').first().getByRole('cell', { name: 'Oslo' }).waitFor()
  await last(page).locator('.json', { hasText: 'deep: true' }).waitFor()
  await page.frameLocator('iframe.framed').last().getByRole('heading', { name: 'Heading' }).waitFor()
  const file = last(page).locator('.out-file', { hasText: 'out.csv' })
  await file.getByRole('button', { name: 'Show' }).click()
  await file.locator('pre', { hasText: 'a,b' }).waitFor()
  const [download] = await Promise.all([page.waitForEvent('download'), file.getByRole('button', { name: 'Download out.csv' }).click()])
  equal(download.suggestedFilename(), 'out.csv', 'the name of the download')
  await picture.scrollIntoViewIfNeeded()
  await screenshot(page, 'playground')
  checkQuiet(page, world)
}

// A fork is beside its origin, and both go on. A rollback returns to the state of a checkpoint, also after a reload.
export async function forkAndRollback({ open }) {
  const page = await open()
  await run(page, 'x = 1')
  await ended(page, 'ok')
  await page.getByRole('tab', { name: 'State' }).click()
  await page.getByRole('button', { name: 'Make a checkpoint' }).click()
  const back = page.getByRole('button', { name: 'Roll back to State 1' })
  await back.waitFor()
  await page.getByRole('tab', { name: 'Output' }).click()
  await run(page, 'x = 2; print("x is", x)')
  await prints(page, 'x is 2')
  await ended(page, 'ok')
  await page.getByRole('button', { name: 'Fork the session: try both' }).click()
  const fork = page.getByRole('region', { name: /^Fork of/ }), origin = page.getByRole('region', { name: 'Program 1', exact: true })
  await run(fork, 'x += 40; print("fork", x)')
  await prints(fork, 'fork 42')
  await ended(fork, 'ok')
  await run(origin, 'x += 1; print("origin", x)')
  await prints(origin, 'origin 3')
  await ended(origin, 'ok') // a program that still runs is not run again
  await set(origin, 'print("both", x)')
  await set(fork, 'print("both", x)')
  await page.getByRole('button', { name: 'Run both' }).click()
  await prints(origin, 'both 3')
  await prints(fork, 'both 42')
  await ended(origin, 'ok')
  await ended(fork, 'ok')
  await checkAccess(page, 'two programs side by side')
  await screenshot(page, 'side-by-side')
  await page.getByRole('button', { name: 'One program' }).click()
  await fork.waitFor({ state: 'detached' })
  await page.reload()
  await page.getByRole('tab', { name: 'State' }).click()
  await during(page, 'The session is in the state of the checkpoint', () => back.click())
  await checkAccess(page, 'the states')
  await screenshot(page, 'states')
  await page.getByRole('tab', { name: 'Output' }).click()
  await run(page, 'print("now", x)')
  await prints(page, 'now 1')
}

// LaTeX, and formulas in Markdown, are set as formulas; markup in them is text.
export async function formulas({ world, open }) {
  const page = await open()
  await run(page, String.raw`class L:
    def __init__(self, text): self.text = text
    def _repr_latex_(self): return self.text
class M:
    def _repr_markdown_(self): return r"""The root $\sqrt{x}$ costs $5, or $6.

$$\int_0^1 x\,dx$$"""
display(L(r"$\displaystyle \frac{a}{b}$"))
display(L(r"Let $x^2$ be <img src=x onerror=alert(1)> and \[y\]"))
display(L(r"\begin{cases}1\\2\end{cases}"))
display(L(r"$\href{javascript:alert(1)}{x} \frac{1}$"))
display(M())`)
  await ended(page, 'ok')
  const frame = (n) => page.frameLocator('iframe.framed >> nth=' + n)
  await frame(0).locator('math mfrac').waitFor()
  await frame(1).getByText('be <img src=x onerror=alert(1)> and').waitFor()
  equal(await frame(1).locator('math').count(), 2, 'formulas in a text')
  await frame(2).locator('math mtable').waitFor()
  await frame(3).locator('math, .temml-error').first().waitFor()
  equal(await frame(3).locator('a').count(), 0, 'links in a formula')
  await frame(4).locator('math msqrt').waitFor()
  equal(await frame(4).locator('math').count(), 2, 'formulas in Markdown')
  await frame(4).getByText('costs $5, or $6.').waitFor()
  await screenshot(page, 'formulas')
  checkQuiet(page, world)
}

// A run without a session has its input ahead, its variables and its end; it can be interrupted.
export async function once({ open }) {
  const page = await open()
  await page.getByRole('tab', { name: 'Settings' }).click()
  await page.getByLabel('once, in a fresh interpreter').check()
  await page.getByLabel('Environment variables').fill('WHO=Ada')
  await page.getByLabel('Standard input').fill('one line')
  await checkAccess(page, 'the settings')
  await page.getByRole('tab', { name: 'Output' }).click()
  await run(page, 'import os\nprint(input(), os.environ["WHO"])')
  await prints(page, 'one line Ada')
  await ended(page, 'ok')
  await run(page, 'print("begins", flush=True)\nwhile True: pass')
  await prints(page, 'begins')
  await page.getByRole('button', { name: 'Interrupt' }).click()
  await ended(page, 'interrupted|cancelled')
}

// What runs while the page is loaded anew is shown again, with all that it has put out: in a session, where it can also be answered, and once.
export async function reload({ world, open }) {
  const page = await open()
  await run(page, 'import time\nprint("first", flush=True)\nname = input("Who? ")\nprint("hello", name)')
  await last(page).getByLabel('Input for the program: Who?').waitFor()
  await page.reload()
  await last(page).locator('.text.stdout', { hasText: 'first' }).waitFor()
  await last(page).getByLabel('Input for the program: Who?').waitFor()
  await page.locator('.session-state', { hasText: /^session$/ }).waitFor()
  await last(page).getByLabel('Input for the program: Who?').fill('Ada')
  await page.keyboard.press('Enter')
  await ended(page, 'ok')
  await prints(page, 'hello Ada')
  await page.reload()
  await ended(page, 'ok')
  await prints(page, 'hello Ada')
  equal(await page.getByRole('article').count(), 1, 'runs after a second reload')
  await page.getByRole('tab', { name: 'Settings' }).click()
  await page.getByLabel('once, in a fresh interpreter').check()
  await page.getByRole('tab', { name: 'Output' }).click()
  await run(page, 'print("begins", flush=True)\nwhile True: pass')
  await prints(page, 'begins')
  await page.reload()
  await prints(page, 'begins')
  await page.getByRole('button', { name: 'Interrupt' }).click()
  await ended(page, 'interrupted|cancelled')
  equal(await page.getByRole('article').count(), 2, 'runs after the third reload')
  checkQuiet(page, world)
}

// Many programs that run when the page is loaded anew are all followed to their ends, over few connections: a browser has six, and calls need some.
export async function reloadOfMany({ world, open }) {
  const page = await open()
  await set(page, 'print(1)')
  const jobs = []
  for (let n = 0; n < 8; n++) jobs.push(await world.api('POST', '/v1/jobs', { code: 'print(1)', delay: 86400, events: true }))
  await page.addInitScript(() => {
    const asked = new Set(), own = window.fetch
    let open = 0
    window.streams = { asked, most: 0 }
    window.fetch = (url, o) => {
      if (String(url).endsWith('/events') && !o.signal.aborted) {
        asked.add(String(url))
        window.streams.most = Math.max(window.streams.most, ++open)
        o.signal.addEventListener('abort', () => { open-- }, { once: true })
      }
      return own(url, o)
    }
  })
  await page.evaluate((ids) => {
    const [program] = JSON.parse(sessionStorage.getItem('kaa.playground'))
    sessionStorage.setItem('kaa.playground', JSON.stringify([{ ...program, runs: ids.map((jobId) => ({ jobId, code: 'print(1)', once: true })) }]))
    location.reload()
  }, jobs.map((j) => j.id))
  const inState = (state) => page.getByRole('article').locator('.run-head .state', { hasText: new RegExp(`^${state}$`) })
  await inState('loading').nth(7).waitFor() // they have put out nothing
  await page.getByRole('link', { name: 'Jobs' }).click() // calls get through beside them
  await page.locator(`.jobs a[title="${jobs[0].id}"]`).waitFor()
  await page.getByRole('link', { name: 'Playground' }).click()
  await page.waitForFunction(() => window.streams.asked.size === 8)
  equal(await page.evaluate(() => window.streams.most), 3, 'streams at once')
  for (const j of jobs) await world.api('DELETE', `/v1/jobs/${j.id}`)
  await inState('cancelled').nth(7).waitFor()
  checkQuiet(page, world)
}

// A program in a link is shown and not run; the link is in the fragment.
export async function sharedLink({ world, open }) {
  const page = await open()
  await set(page, 'print("shared")')
  await page.getByRole('button', { name: 'Share' }).click()
  await during(page, 'Link copied', () => page.getByRole('button', { name: 'Copy a link to this program' }).click())
  const link = await page.evaluate(() => navigator.clipboard.readText())
  truth(link.startsWith(world.url + '#/playground?p='), `the link ${link}`)
  const other = await open(keys.all, link.slice(world.url.length))
  await other.locator('.cm-content', { hasText: 'print("shared")' }).waitFor()
  await other.getByRole('heading', { name: 'Type a program and run it' }).waitFor()
  const broken = await open(keys.all, '#/playground?p=garbage')
  await broken.getByText('The link has no program that can be read').waitFor()
}

// What is copied runs elsewhere: by curl, by the client for Python, and for the command line.
export async function copies({ world, open }) {
  const page = await open()
  const code = 'import os, sys\nprint("it\\\'s", os.environ["WHO"], sys.stdin.read())\n'
  await set(page, code)
  await page.getByRole('tab', { name: 'Settings' }).click()
  await page.getByLabel('once, in a fresh interpreter').check()
  await page.getByLabel('Timeout in seconds').fill('50')
  await page.getByLabel('Memory in MiB').fill('300')
  await page.getByLabel('Environment variables').fill("WHO=O'Hara $HOME")
  await page.getByLabel('Standard input').fill('a "line" of `it`')
  const shell = (text) => execFileSync('bash', ['-ec', text], { cwd: world.folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, PATH: `${world.folder}:${process.env.PATH}`, HOME: world.folder, KAA_API_KEY: keys.all } })
  const copied = async (name) => {
    await page.getByRole('button', { name: 'Share' }).click()
    await page.evaluate(() => navigator.clipboard.writeText(''))
    await page.getByRole('button', { name }).click()
    const text = await page.waitForFunction(() => navigator.clipboard.readText())
    return text.jsonValue()
  }
  const want = 'it\'s O\'Hara $HOME a "line" of `it`\n'
  equal(JSON.parse(shell(await copied('Copy as curl'))).stdout, want, 'what curl has printed')
  const kaa = join(world.folder, 'kaa')
  writeFileSync(kaa, `#!/bin/sh\nexec ${process.env.KAA_BIN} "$@"\n`, { mode: 0o755 })
  equal(shell(await copied('Copy for the command line')), want, 'what kaa run has printed')
  const root = process.env.KAA_ROOT, venv = join(world.folder, 'client'), needs = join(world.folder, 'needs.txt'), program = join(world.folder, 'copied.py')
  writeFileSync(needs, readFileSync(join(root, 'test/clients/requirements.txt'), 'utf8').match(/^httpx==.*$/m)[0] + '\n')
  execFileSync(join(root, 'scripts/venv'), [venv, needs], { stdio: 'inherit' })
  writeFileSync(program, await copied('Copy as Python'))
  equal(execFileSync(join(venv, 'bin/python'), [program], { encoding: 'utf8', env: { ...process.env, KAA_API_KEY: keys.all, PYTHONPATH: join(root, 'clients/python/src') } }).trim(), want.trim(), 'what the client for Python has printed')
}

// Each example runs to its end.
export async function examples({ world, open }) {
  const page = await open()
  await page.getByRole('button', { name: 'Examples' }).click()
  const titles = await page.locator('.menu ul button').allInnerTexts()
  await page.keyboard.press('Escape')
  truth(titles.length >= 12, `${titles.length} examples`)
  for (const [n, title] of titles.entries()) {
    await page.getByRole('button', { name: 'Examples' }).click()
    await page.getByRole('button', { name: title, exact: true }).click()
    await page.locator('.cm-content').click()
    await page.keyboard.press('ControlOrMeta+Enter')
    await page.waitForFunction((n) => document.querySelectorAll('article.run').length === n + 1, n)
    if (title === 'Ask for input') {
      await last(page).getByLabel(/^Input for the program/).fill('Ada')
      await page.keyboard.press('Enter')
    }
    await ended(page, title === 'An error to read' ? 'error' : 'ok')
  }
  checkQuiet(page, world)
}

// The playground and a job can be used without a mouse.
export async function keyboard({ world, open }) {
  const page = await open()
  await page.locator('.cm-content').waitFor()
  await page.waitForFunction(() => document.activeElement?.classList.contains('editor-host') || document.activeElement?.shadowRoot !== null)
  await page.keyboard.press('ControlOrMeta+a')
  await page.keyboard.insertText('name = input("Who? ")\nprint("hello", name)')
  await page.keyboard.press('ControlOrMeta+Enter')
  await last(page).getByLabel('Input for the program: Who?').waitFor()
  await page.waitForFunction(() => document.activeElement?.getAttribute('aria-label')?.startsWith('Input for the program'))
  await page.keyboard.type('Ada')
  await page.keyboard.press('Enter')
  await prints(page, 'hello Ada')
  await ended(page, 'ok')
  // to presses Tab until something has the focus. In the editor, Tab is for the program, and Escape is to be pressed before.
  const to = async (name) => {
    for (let n = 0; n < 80; n++) {
      if (await page.evaluate(() => document.activeElement?.shadowRoot !== null)) await page.keyboard.press('Escape')
      await page.keyboard.press('Tab')
      if (await page.evaluate((name) => (document.activeElement?.getAttribute('aria-label') || document.activeElement?.innerText || '').trim() === name, name)) return
    }
    throw new Error(`${name} does not get the focus`)
  }
  await page.reload()
  await to('Examples')
  await page.keyboard.press('Enter')
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('Escape')
  await to('Output')
  await page.keyboard.press('ArrowRight')
  await page.getByText('Files of the working directory are listed here.').waitFor()
  await page.reload()
  await to('Jobs')
  await page.keyboard.press('Enter')
  await page.locator('.jobs tbody tr a').first().waitFor()
  await page.locator('.jobs-frame').focus()
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'Timeline' }).waitFor()
  checkQuiet(page, world)
}

// A shell in the session sees its files.
export async function terminal({ open }) {
  const page = await open()
  await run(page, 'open("seen.txt", "w").write("x")')
  await ended(page, 'ok')
  await page.getByRole('tab', { name: 'Terminal' }).click()
  await page.locator('.xterm-rows', { hasText: /[$#]/ }).waitFor()
  await page.keyboard.type('echo files: $(ls) $((6*7))\n')
  await page.locator('.xterm-rows', { hasText: /files: .*seen\.txt 42/ }).waitFor()
  await screenshot(page, 'terminal')
  equal(page.complaints, [], 'errors in the console of the browser')
}

// Kaa is restarted under open pages: they say so, keep what is on them, and work again afterwards.
export async function zRestart({ world, open }) {
  const page = await open()
  const list = await open(keys.all, '#/jobs')
  await run(page, 'kept = 1')
  await ended(page, 'ok')
  await world.stopKaa()
  await page.getByText('The API does not answer').first().waitFor()
  await list.getByText('The API does not answer').first().waitFor()
  await world.startKaa()
  await page.getByText('The API does not answer').first().waitFor({ state: 'detached' })
  await page.getByText('no session yet').waitFor()
  await page.locator('.cm-content', { hasText: 'kept = 1' }).waitFor()
  await run(page, 'print("again", 6 * 7)')
  await prints(page, 'again 42')
  await list.locator('.jobs tbody tr').first().waitFor() // this Kaa has forgotten all earlier ones
  await list.getByText('The API does not answer').first().waitFor({ state: 'detached' })
  await list.getByText('live', { exact: true }).waitFor()
}
