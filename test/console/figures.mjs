// Measures the console, for docs and reports: scripts/console figures. The figures depend on the machine, so no test compares them.
import { keys } from './world.mjs'
import { ended, last, run } from './steps.mjs'

const ms = (n) => `${Math.round(n)} ms`
const kB = (n) => `${(n / 1000).toFixed(1)} kB`

// watched keeps what a page takes long for, from its first script on.
async function watched(world, key, fragment) {
  const context = await world.browser.newContext({ viewport: { width: 1280, height: 860 } })
  await context.addInitScript(([k]) => {
    if (window !== top) return
    sessionStorage.setItem('kaa.key', k)
    window.tasks = []
    new PerformanceObserver((list) => { for (const e of list.getEntries()) window.tasks.push([e.startTime, e.duration]) }).observe({ type: 'longtask', buffered: true })
  }, [key])
  const page = await context.newPage()
  page.setDefaultTimeout(240_000)
  page.errors = []
  page.hosts = new Set()
  page.on('console', (m) => { if (m.type() === 'error') page.errors.push(m.text()) })
  page.on('pageerror', (e) => page.errors.push(String(e)))
  page.on('request', (r) => { if (/^http/.test(r.url()) && !r.url().startsWith(world.url)) page.hosts.add(new URL(r.url()).host) })
  await page.goto(world.url + fragment)
  return page
}

const heapOf = async (page) => {
  const client = await page.context().newCDPSession(page)
  await client.send('HeapProfiler.collectGarbage')
  return (await client.send('Runtime.getHeapUsage')).usedSize
}

// Each page: what it transfers, when it is painted and can be used, and what keeps it busy until then.
export async function pages({ world }) {
  await world.api('POST', '/v1/jobs', { code: 'print(1)' })
  for (const [name, fragment, ready] of [
    ['first page, jobs', '#/jobs', '.jobs-frame, .empty'], ['playground with editor', '', '.cm-content'], ['batches', '#/batches', '.table, .empty'], ['fleet', '#/fleet', '.charts figure'],
  ]) {
    const page = await watched(world, keys.admin, fragment)
    await page.locator(ready).first().waitFor()
    const f = await page.evaluate(() => {
      const now = performance.now(), nav = performance.getEntriesByType('navigation')[0]
      const all = [nav, ...performance.getEntriesByType('resource')]
      return {
        now, bytes: all.reduce((sum, e) => sum + e.transferSize, 0), requests: all.length, painted: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN,
        blocked: window.tasks.reduce((sum, [, d]) => sum + Math.max(0, d - 50), 0), longest: Math.max(0, ...window.tasks.map(([, d]) => d)),
      }
    })
    console.log(`${name}: ${kB(f.bytes)} in ${f.requests} requests, painted after ${ms(f.painted)}, usable after ${ms(f.now)}, longest task ${ms(f.longest)}, blocked for ${ms(f.blocked)}, ` +
      `errors in the console: ${page.errors.length}, other hosts: ${page.hosts.size}`)
    await page.context().close()
  }
}

// longestOf is the longest task of a page's main thread in a trace, by the clock and by the processor's time. The second does not depend on what else the
// machine does.
function longestOf(trace) {
  const { traceEvents } = JSON.parse(trace.toString())
  const main = new Set(traceEvents.filter((e) => e.name === 'thread_name' && e.args.name === 'CrRendererMain').map((e) => `${e.pid} ${e.tid}`))
  const tasks = traceEvents.filter((e) => e.ph === 'X' && /RunTask$/.test(e.name) && main.has(`${e.pid} ${e.tid}`))
  const most = (f) => tasks.reduce((n, e) => Math.max(n, f(e) ?? 0), 0) / 1000
  return [most((e) => e.dur), most((e) => e.tdur)]
}

// A run in a session, with its editor: 50,000 lines, and 100 MB.
export async function lines({ world }) {
  for (const [name, code] of [
    ['50,000 lines', 'for n in range(50_000): print("line", n, "of a long output")'],
    ['50,000 lines, each flushed', 'for n in range(50_000): print("line", n, "of a long output", flush=True)'],
    ['100 MB in 100,000 lines', 'line = "x" * 999\nfor n in range(100_000): print(n, line)'],
  ]) {
    const page = await watched(world, keys.all, '')
    await page.locator('.cm-content').waitFor()
    const before = await heapOf(page)
    await world.browser.startTracing(page, { categories: ['toplevel', 'disabled-by-default-devtools.timeline'] })
    const began = Date.now()
    await run(page, code)
    await ended(page, 'ok')
    await last(page).locator('.long-line').last().waitFor()
    const took = Date.now() - began
    const [longest, busy] = longestOf(await world.browser.stopTracing())
    console.log(`${name}: shown after ${ms(took)}, longest task ${ms(longest)}, ${ms(busy)} of the processor, heap ${((await heapOf(page)) / 2 ** 20).toFixed(1)} MiB (${(before / 2 ** 20).toFixed(1)} before), ` +
      `elements ${await page.locator('*').count()}, errors in the console: ${page.errors.length}`)
    await page.context().close()
  }
}
