// What goes wrong between the page and Kaa, and what programs put out that no page expects.
import { readFileSync } from 'node:fs'
import { checkQuiet, during, equal, keys, screenshot, truth } from './world.mjs'
import { ended, last, prints, run, session } from './steps.mjs'
import { wire } from './cut.mjs'

// write puts a file into a session beside its executions.
async function write(world, id, path) {
  const res = await fetch(`${world.url}v1/sessions/${id}/fs/content?path=${path}`, { method: 'PUT', headers: { Authorization: `Bearer ${keys.all}` }, body: 'x' })
  truth(res.ok, `${path} could not be written: ${res.status}`)
}

const texts = (page, stream) => last(page).locator(`.text.${stream} pre > div`).allInnerTexts().then((all) => all.map((t) => t.trimEnd()))

// A connection that is cut in the middle of a run is made again, and the page has everything once. The question that came afterwards is answered.
export async function cut({ world, open }) {
  const line = await wire(world.url)
  const page = await open(keys.all, '', {}, line.url)
  await run(page, 'import os, time\nprint("first", flush=True)\nwhile not os.path.exists("go"): time.sleep(0.05)\nprint("second", flush=True)\nname = input("Who? ")\nprint("hello", name)')
  await prints(page, 'first')
  const id = await session(page)
  line.cut()
  await page.getByText('The API does not answer').first().waitFor()
  await write(world, id, 'go')
  line.mend()
  await page.getByText('The API does not answer').first().waitFor({ state: 'detached' })
  await last(page).getByLabel('Input for the program: Who?').waitFor()
  await page.locator('.session-state', { hasText: /^session$/ }).waitFor()
  await last(page).getByLabel('Input for the program: Who?').fill('Ada')
  await page.keyboard.press('Enter')
  await ended(page, 'ok')
  equal(await texts(page, 'stdout'), ['first', 'second', 'Who? hello Ada'], 'the output')
  equal(page.complaints, [], 'errors in the console of the browser')
  line.close()
}

// The output of a job that runs once, and its page, go on after a cut.
export async function cutJob({ world, open }) {
  const line = await wire(world.url)
  const made = await world.api('POST', '/v1/sessions', {})
  const job = await world.api('POST', '/v1/jobs', { sessionId: made.id, code: 'import os, time\nprint("first", flush=True)\nwhile not os.path.exists("go"): time.sleep(0.05)\nprint("second")' })
  const page = await open(keys.all, '#/jobs/' + job.id, {}, line.url)
  await page.locator('.job-output .text.stdout').getByText('first').waitFor()
  line.cut()
  await page.getByText('The API does not answer').first().waitFor()
  await write(world, made.id, 'go')
  line.mend()
  await page.locator('.job-output .text.stdout').getByText('second').waitFor()
  await page.locator('.head .state').getByText('completed').waitFor()
  equal((await page.locator('.job-output .text.stdout pre > div').allInnerTexts()).map((t) => t.trim()), ['first', 'second'], 'the output')
  await world.api('DELETE', `/v1/sessions/${made.id}`)
  line.close()
}

// A session that ends under the page is said to have ended; the program stays, and the next run has a new session. So it is after a reload.
export async function expired({ world, open }) {
  const page = await open()
  await run(page, 'x = 1')
  await ended(page, 'ok')
  const first = await session(page)
  await during(page, 'The next run opens a new session', () => world.api('DELETE', `/v1/sessions/${first}`))
  await page.getByText('no session yet').waitFor()
  await page.locator('.cm-content', { hasText: 'x = 1' }).waitFor()
  await run(page, 'print("x" in globals())')
  await prints(page, 'False')
  const second = await session(page)
  await page.goto('about:blank')
  await world.api('DELETE', `/v1/sessions/${second}`)
  await page.goto(world.url)
  await page.getByText('no session yet').waitFor()
  await page.locator('.cm-content', { hasText: 'print("x" in globals())' }).waitFor()
  await run(page, 'print("new", 6 * 7)')
  await prints(page, 'new 42')
}

// A key that is revoked under the page is asked for again, over what the page has.
export async function revoked({ world, open }) {
  world.writeKeys()
  const page = await open(keys.leaver)
  await run(page, 'print("kept")')
  await prints(page, 'kept')
  await page.getByRole('tab', { name: 'Files' }).click()
  world.writeKeys(['leaver'])
  const form = page.getByRole('dialog', { name: 'Sign in' })
  for (;;) { // until the revocation is in force
    if (await form.count() > 0) break
    await page.getByRole('button', { name: 'Refresh' }).click({ timeout: 1000 }).catch(() => {})
  }
  await page.locator('.cm-content', { hasText: 'print("kept")' }).waitFor()
  await form.getByLabel('API key').fill('wrong-key-0123456789')
  await page.keyboard.press('Enter')
  await form.locator('.wrong').waitFor()
  await form.getByLabel('API key').fill(keys.all)
  await page.keyboard.press('Enter')
  await form.waitFor({ state: 'detached' })
  await page.getByRole('tab', { name: 'Output' }).click()
  await prints(page, 'kept')
  world.writeKeys()
}

// Names, errors, questions and output with markup and control characters are text, wherever they stand.
export async function odd({ world, open }) {
  const page = await open()
  const markup = '<img src=x onerror="window.reached=1">'
  await run(page, [
    `open(${JSON.stringify(markup.replaceAll('/', ''))}, "w").write("x")`, `print("\\x1b]0;title\\x07\\x1b[2K\\x1b]8;;http://example.com\\x07link\\x1b]8;;\\x07 \\x07\\x08\\x00\\x7f", ${JSON.stringify(markup)})`,
    `print("a" * 5000)`, `print("\\u202eright to left")`, `try: input(${JSON.stringify(markup)})`, 'except EOFError: pass',
    `raise type(${JSON.stringify(markup)}, (Exception,), {})(${JSON.stringify(markup + '\x1b[31m')})`,
  ].join('\n'))
  await last(page).getByRole('button', { name: 'End', exact: true }).click()
  await ended(page, 'error')
  await last(page).locator('.traceback strong', { hasText: markup }).waitFor()
  await last(page).locator('.out-file code', { hasText: markup }).waitFor()
  const shown = await texts(page, 'stdout')
  truth(shown[0].startsWith('link') && shown[0].includes(markup) && shown[0].includes('\u2400') && !shown[0].includes('title'), `the first line is ${JSON.stringify(shown[0])}`)
  truth(shown[1].startsWith('aaa') && shown[1].includes('this line has more'), 'a long line is not cut')
  truth(!(await page.evaluate(() => 'reached' in window)), 'what a program put out has run in the page')
  equal(await page.title(), 'Playground · Kaa', 'the title')
  checkQuiet(page, world)
}

// An SVG with tens of thousands of elements is a picture. One that is too large for the page is offered as a download, and one that is too large for
// the events is got from the result of the job, both in words.
export async function hugeSVG({ world, open }) {
  const page = await open()
  await run(page, [
    'class S:', '    def __init__(self, n): self.n = n',
    '    def _repr_svg_(self): return \'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 1000" width="400" height="400">\' + "".join(f\'<circle cx="{i % 1000}" cy="{i // 30}" r="2"/>\' for i in range(self.n)) + "</svg>"',
    'display(S(30_000))', 'print("drawn")', 'display(S(150_000))',
  ].join('\n'))
  await ended(page, 'ok')
  await prints(page, 'drawn')
  const picture = last(page).locator('.picture img')
  await picture.waitFor()
  await page.waitForFunction((i) => i.complete && i.naturalWidth > 100, await picture.elementHandle())
  const note = last(page).locator('.note', { hasText: /^A value of .* MiB is too large to be sent while the program runs/ })
  await note.waitFor()
  await screenshot(page, 'large-value')
  await note.getByRole('button', { name: 'Get the value' }).click()
  const large = last(page).locator('.note', { hasText: /of SVG are too much for this page/ })
  const [download] = await Promise.all([page.waitForEvent('download'), large.getByRole('button', { name: 'Download' }).click()])
  truth(readFileSync(await download.path(), 'utf8').match(/<circle/g).length === 150_000, 'the download is not the picture')
  await run(page, 'print("the page", "answers")')
  await prints(page, 'the page answers')
  checkQuiet(page, world)
}

// accounted is how many bytes of output a page accounts for: those of its download, and those of which it says that they are missing.
async function accounted(page) {
  const [download] = await Promise.all([page.waitForEvent('download'), last(page).getByRole('button', { name: 'Download the output' }).click()])
  let text = readFileSync(await download.path(), 'utf8')
  let said = 0
  const number = (digits) => Number(digits.replaceAll(',', ''))
  text = text.replace(/^\[[\d,]+ earlier lines \(([\d,]+) characters\) are not kept on this page(?:, and ([\d,]+) bytes [^\]]*)?\.\]\n/, (_, kept, missing) => {
    said += number(kept) + number(missing ?? '0')
    return ''
  })
  let gaps = 0 // each may have ended a line of its own
  text = text.replace(/^\[([\d,]+) bytes of output are missing here[^\]]*\]\n/gm, (_, missing) => {
    said += number(missing)
    gaps++
    return ''
  })
  return { text, bytes: text.length + said, gaps, said }
}

// watchTasks has a page note its longest task from now on.
const watchTasks = (page) => page.evaluate(() => {
  window.longest = 0
  new PerformanceObserver((list) => { for (const e of list.getEntries()) window.longest = Math.max(window.longest, e.duration) }).observe({ type: 'longtask' })
})

const figures = async (page, what) => {
  const [longest, heap] = await page.evaluate(() => [window.longest, performance.memory.usedJSHeapSize])
  console.log(`${what}: longest task ${Math.round(longest)} ms, heap ${Math.round(heap / 2 ** 20)} MiB`)
  truth(heap < 400 << 20, `the page holds ${heap} bytes`)
}

// 100 MB of output: the end is in sight, the page says of each byte that it has not that it is missing, and it answers.
export async function longOutput({ world, open }) {
  const page = await open()
  await page.locator('.cm-content').waitFor()
  await watchTasks(page)
  await run(page, 'line = "x" * 999\nfor n in range(100_000): print(n, line)\nprint("the", "end")')
  await ended(page, 'ok')
  await page.locator('.long-line', { hasText: 'the end' }).waitFor()
  truth(await page.locator('.long-line').count() < 100, 'too many elements')
  const got = await accounted(page)
  let total = 'the end\n'.length
  for (let n = 0; n < 100_000; n++) total += `${n} `.length + 1000
  truth(got.text.endsWith('x\nthe end\n'), 'the end is missing in the download')
  truth(got.bytes >= total && got.bytes <= total + got.gaps + 100, `the page accounts for ${got.bytes} of ${total} bytes, with ${got.gaps} gaps`)
  await figures(page, `100 MB of output, ${got.text.length} bytes kept, ${got.gaps} gaps`)
  await page.reload()
  await watchTasks(page)
  await page.locator('.long-line', { hasText: 'the end' }).waitFor()
  await figures(page, 'the same after a reload')
  await run(page, 'print("the page", "answers")')
  await prints(page, 'the page answers')
  checkQuiet(page, world)
}

// Streams that take turns are as many texts as the page bears, and not more.
export async function manyTurns({ world, open }) {
  const page = await open()
  await page.locator('.cm-content').waitFor()
  await watchTasks(page)
  await run(page, 'import sys\nfor n in range(3000):\n    print("out", n, flush=True)\n    print("err", n, file=sys.stderr, flush=True)\nprint("the", "end")')
  await ended(page, 'ok')
  await last(page).locator('.text').getByText('the end').waitFor()
  truth(await last(page).locator('.text').count() <= 400, 'too many elements')
  const got = await accounted(page)
  let total = 'the end\n'.length
  for (let n = 0; n < 3000; n++) total += 2 * `out ${n}\n`.length
  truth(got.bytes >= total && got.bytes <= total + got.gaps, `the page accounts for ${got.bytes} of ${total} bytes`)
  await last(page).getByText('are not kept on this page').waitFor()
  await figures(page, '6,000 turns of two streams')
  checkQuiet(page, world)
}
