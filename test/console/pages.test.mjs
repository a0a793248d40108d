// Each page and each of its parts, for somebody who cannot see, with light colours, and on a phone.
import { checkAccess, checkQuiet, during, equal, keys, screenshot, truth } from './world.mjs'
import { ended, last, prints, run, session } from './steps.mjs'

const program = [
  'import sys', 'print("a line of output that is as long as lines of programs are, and longer than a phone is wide: " + "x" * 60)', 'print("to the other", file=sys.stderr)', 'print("\\x1b[31mred \\x1b[32mgreen \\x1b[33myellow \\x1b[34mblue \\x1b[35mmagenta \\x1b[36mcyan \\x1b[90mgrey \\x1b[0m \\x1b[7minverse\\x1b[0m \\x1b[2mdim\\x1b[0m")',
  'open("a-file-with-quite-a-long-name-for-a-phone.csv", "w").write("a,b\\n1,2\\n")', 'class J:', '    def _repr_json_(self): return {"list": [1, {"deep": True, "text": "t" * 200}], "none": None}',
  'display(J())', 'display({"text/html": "<table><tr>" + "<th>column</th>" * 12 + "</tr></table>", "text/plain": "table"}, raw=True)', '1 / 0',
].join('\n')

// visit goes through all of the console and calls seen with the name of each part once it is there.
async function visit(world, open, options, seen) {
  const job = await world.api('POST', '/v1/jobs', { code: 'print("x" * 300)\n1 / 0', metadata: { user: 'lin', note: 'n'.repeat(120) } })
  const lines = [{ batch: { name: 'a batch with a name that is rather long for a phone' } }, { code: '1' }, { code: '1/0' }].map((l) => JSON.stringify(l)).join('\n')
  const batch = await (await fetch(world.url + 'v1/batches', { method: 'POST', headers: { Authorization: `Bearer ${keys.all}`, 'Content-Type': 'application/x-ndjson' }, body: lines })).json()
  await world.api('GET', `/v1/jobs/${job.id}?wait=60s`)
  const form = await open('', '', options)
  await form.getByRole('dialog', { name: 'Sign in' }).waitFor()
  await seen(form, 'sign-in')
  const page = await open(keys.admin, '', options)
  await run(page, program)
  await ended(page, 'error')
  await last(page).locator('.traceback summary').click()
  await page.frameLocator('iframe.framed').getByRole('columnheader').first().waitFor()
  await seen(page, 'playground')
  await page.getByRole('button', { name: 'Examples' }).click()
  await seen(page, 'the menu of examples')
  await page.keyboard.press('Escape')
  for (const [tab, there] of [['Files', 'Add files'], ['State', 'Make a checkpoint'], ['Settings', 'Environment variables']]) {
    await page.getByRole('tab', { name: tab }).click()
    await page.getByText(there).first().waitFor()
    await seen(page, tab)
  }
  await page.getByRole('tab', { name: 'Terminal' }).click()
  await page.locator('.xterm-rows', { hasText: /[$#]/ }).waitFor()
  await page.keyboard.type('echo $((6*7))\n')
  await page.locator('.xterm-rows', { hasText: '42' }).waitFor()
  await seen(page, 'terminal')
  for (const [address, there] of [
    ['jobs', '.jobs tbody tr'], [`jobs/${job.id}`, '.job-output .text.stdout'], ['batches', '.table tbody tr'], [`batches/${batch.id}`, '.table tbody tr'],
    ['fleet/hour', '.charts figure'], ['fleet/queues', '.table tbody tr'], ['fleet/runners', '.runner'], ['fleet/sessions', '.table tbody tr'],
  ]) {
    await page.goto(`${world.url}#/${address}`)
    await page.locator(there).first().waitFor()
    await seen(page, address.replace(/\/[0-9a-f-]{36}$/, ' of one'))
  }
  await page.goto(`${world.url}#/jobs`)
  for (const name of ['Cancel many…', 'New job']) {
    await page.getByRole('button', { name }).click()
    await page.getByRole('dialog').waitFor()
    await seen(page, name)
    await page.keyboard.press('Escape')
  }
  checkQuiet(page, world)
}

// Light colours have contrast, too.
export async function light({ world, open }) {
  await visit(world, open, { colorScheme: 'light' }, async (page, what) => {
    await checkAccess(page, `${what}, in light colours`)
    await screenshot(page, 'light-' + what.replace(/\W+/g, '-'))
  })
}

// On a phone nothing is wider than the screen, and all is as accessible.
export async function phone({ world, open }) {
  const width = 390
  await visit(world, open, { viewport: { width, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }, async (page, what) => {
    const wide = await page.evaluate(() => {
      const limit = document.documentElement.clientWidth
      const found = [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > limit + 1 && !e.closest('.unseen, [role=log], .tab-panel, .table-frame, .jobs-frame, pre, .programs, [role=tablist], nav, .editor'))
      return [document.documentElement.scrollWidth, found.slice(0, 3).map((e) => e.outerHTML.slice(0, 120))]
    })
    truth(wide[0] <= width, `${what} is ${wide[0]} wide: ${wide[1].join(' | ')}`)
    await checkAccess(page, `${what}, on a phone`)
    await screenshot(page, 'phone-' + what.replace(/\W+/g, '-'))
  })
}

// Files that are dropped, and several that are chosen at once, are in the working directory; a folder is refused in words.
export async function files({ world, open }) {
  const page = await open()
  await page.locator('.cm-content').waitFor()
  const drop = async (names) => {
    const data = await page.evaluateHandle((names) => {
      const d = new DataTransfer()
      for (const n of names) d.items.add(new File([`content of ${n}`], n))
      return d
    }, names)
    await page.dispatchEvent('.playground', 'dragover', { dataTransfer: data })
    await page.dispatchEvent('.playground', 'drop', { dataTransfer: data })
  }
  await during(page, 'two.txt is in the working directory', () => drop(['one.txt', 'two.txt']))
  await run(page, 'import os\nprint(sorted(n for n in os.listdir() if n.endswith(".txt")), open("two.txt").read())')
  await prints(page, "['one.txt', 'two.txt'] content of two.txt")
  await ended(page, 'ok')
  await during(page, 'three.txt is in the working directory', () => drop(['three.txt']))
  await page.getByRole('tab', { name: 'Files' }).click()
  await page.locator('.out-file code', { hasText: 'three.txt' }).waitFor()
  await page.locator('.upload input').setInputFiles(['four.txt', 'five.txt', 'six ü.txt'].map((name) => ({ name, mimeType: 'text/plain', buffer: Buffer.from(name) })))
  for (const name of ['four.txt', 'five.txt', 'six ü.txt']) await page.locator('.out-file code', { hasText: name }).waitFor()
  await checkAccess(page, 'the files')
  await screenshot(page, 'files')
  const file = page.locator('.out-file', { hasText: 'one.txt' })
  await file.getByRole('button', { name: 'Show' }).click()
  await file.locator('pre', { hasText: 'content of one.txt' }).waitFor()
  await page.getByRole('button', { name: 'Delete four.txt' }).click()
  await page.locator('.out-file code', { hasText: 'four.txt' }).waitFor({ state: 'detached' })
  const listed = await world.api('GET', `/v1/sessions/${await session(page)}/files`)
  equal(listed.files.map((f) => f.path).filter((p) => p.endsWith('.txt')).sort(), ['five.txt', 'one.txt', 'six ü.txt', 'three.txt', 'two.txt'], 'the files')
  // Without a session they come with each run.
  await page.getByRole('tab', { name: 'Settings' }).click()
  await page.getByLabel('once, in a fresh interpreter').check()
  await during(page, 'once.txt is in the working directory', () => drop(['once.txt']))
  await page.getByRole('tab', { name: 'Output' }).click()
  await run(page, 'print("it has", open("once.txt").read())')
  await prints(page, 'it has content of once.txt')
  checkQuiet(page, world)
}
