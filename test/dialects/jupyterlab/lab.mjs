// A person's notebook in JupyterLab, in a browser: its server has Kaa as the gateway (--gateway-url). The browser is
// Debian's Chromium. Without one the test exits with 77.
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

const browserPath = process.env.CHROMIUM || spawnSync('sh', ['-c', 'command -v chromium || command -v chromium-browser']).stdout.toString().trim()
if (!browserPath) {
  console.error('there is no Chromium: install it, or set CHROMIUM to its path')
  process.exit(77)
}

const cells = [
  'x = 20\nprint("printed")\nx + 1',
  'import pandas as pd\npd.DataFrame({"city": ["Oslo"]})',
  'import matplotlib.pyplot as plt\nplt.plot([1, 2]);',
  '1 / 0',
]
const folder = mkdtempSync(join(tmpdir(), 'jupyterlab-'))
writeFileSync(join(folder, 'person.ipynb'), JSON.stringify({
  cells: [...cells, 'print("hello", input("name? "))', 'import time\nprint("begins", flush=True)\nwhile True: time.sleep(1)', 'x.bit_c'].map((source, n) => (
    { cell_type: 'code', id: `c${n}`, execution_count: null, metadata: {}, outputs: [], source })),
  metadata: { kernelspec: { name: 'python3', display_name: 'Python 3', language: 'python' } }, nbformat: 4, nbformat_minor: 5,
}))

const port = await new Promise((done) => {
  const server = createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address()
    server.close(() => done(port))
  })
})
const lab = spawn('venv/bin/jupyter', [
  'lab', '--no-browser', '--allow-root', '--ip=127.0.0.1', `--port=${port}`, '--ServerApp.port_retries=0', '--IdentityProvider.token=lab', `--ServerApp.root_dir=${folder}`,
  '--LabApp.expose_app_in_browser=True', '--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate', `--gateway-url=${process.env.KAA_URL}/jupyter`,
], {
  env: { ...process.env, HOME: folder, JUPYTER_CONFIG_DIR: join(folder, 'config'), JUPYTER_GATEWAY_AUTH_TOKEN: process.env.KAA_API_KEY },
  stdio: ['ignore', 'ignore', 'pipe'],
})
let log = ''
lab.stderr.on('data', (data) => { log += data })
let page
const browser = await chromium.launch({ executablePath: browserPath, args: ['--no-sandbox'] })
try {
  const address = `http://127.0.0.1:${port}`
  while (!(await fetch(`${address}/api?token=lab`).then((r) => r.ok, () => false))) {
    if (lab.exitCode !== null) throw new Error(`JupyterLab has ended:\n${log}`)
    await new Promise((done) => setTimeout(done, 100))
  }
  page = await browser.newPage()
  page.setDefaultTimeout(Number(process.env.LAB_TIMEOUT ?? 300_000))
  await page.goto(`${address}/lab/tree/person.ipynb?token=lab`)
  await page.locator('.jp-Notebook').waitFor()
  const command = (name) => page.evaluate((name) => { window.jupyterapp.commands.execute(name) }, name)
  const cell = (n) => page.locator('.jp-Notebook .jp-CodeCell').nth(n)
  // run executes a cell as a person does, once it is wholly there.
  const run = async (n) => {
    await cell(n).locator('.cm-content').click()
    await page.keyboard.press('Control+Enter')
  }
  const shows = async (n, text) => cell(n).locator('.jp-OutputArea-output', { hasText: text }).first().waitFor()
  // idle waits until the kernel is connected and does nothing: what a person sees at the right of the notebook's bar.
  const idle = () => page.waitForFunction(() => {
    const kernel = window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel
    return kernel?.connectionStatus === 'connected' && kernel.status === 'idle'
  })
  await idle()

  await run(0)
  await shows(0, 'printed')
  await shows(0, '21')
  await run(1)
  await cell(1).locator('.jp-RenderedHTML table', { hasText: 'Oslo' }).waitFor()
  await run(2)
  await cell(2).locator('.jp-RenderedImage img').waitFor()
  await run(3)
  await shows(3, 'ZeroDivisionError')
  await run(4)
  await cell(4).locator('.jp-Stdin-input').fill('Ada')
  await page.keyboard.press('Enter')
  await shows(4, 'hello Ada')
  await run(5)
  await shows(5, 'begins')
  await command('notebook:interrupt-kernel')
  await shows(5, 'KeyboardInterrupt')
  await cell(6).locator('.cm-content').click()
  await page.keyboard.press('Control+End')
  await page.keyboard.press('Tab')
  await page.locator('.jp-Completer-item', { hasText: 'x.bit_count' }).waitFor()
  await page.keyboard.press('Enter')
  await cell(6).locator('.cm-content', { hasText: 'x.bit_count' }).waitFor()
  await command('notebook:restart-kernel')
  await page.locator('.jp-Dialog button', { hasText: 'Restart' }).click()
  await page.locator('.jp-Dialog').waitFor({ state: 'detached' })
  await idle()
  await run(6)
  await shows(6, 'NameError')
} catch (error) {
  console.error(log)
  throw error
} finally {
  if (process.env.SCREENSHOT) await page?.screenshot({ path: process.env.SCREENSHOT })
  await browser.close()
  lab.kill()
  rmSync(folder, { recursive: true, force: true })
}
