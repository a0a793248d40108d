// Runs the tests of the console: one Kaa, one Chromium, and a page of its own for each test. A test is a function that a file exports; it gets
// the world, and fails by throwing: node main.mjs [FILE[:TEST]...]
import { readdirSync } from 'node:fs'
import { World } from './world.mjs'

const named = process.argv.slice(2)
const all = named.length > 0 ? named : readdirSync('.').filter((f) => f.endsWith('.test.mjs'))
const world = await World.start()
let failed = 0
try {
  for (const [file, only] of all.map((a) => a.split(':'))) {
    for (const [name, test] of Object.entries(await import(`./${file}`))) {
      if (only && name !== only) continue
      if (typeof test !== 'function' || name.startsWith('long') && process.env.KAA_CONSOLE_TESTS !== 'long') continue
      const began = Date.now()
      const pages = []
      try {
        await test({ world, open: async (...a) => { const p = await world.open(...a); pages.push(p); return p } })
        console.log(`${file} ${name}: passed (${Date.now() - began} ms)`)
      } catch (err) {
        failed++
        console.error(`${file} ${name}: FAILED: ${err.stack}`)
        for (const p of pages) console.error((await p.locator('body').innerText().catch(() => '')).slice(0, 2000), '\n', p.complaints)
      }
      for (const p of pages) await p.context().close()
    }
  }
} finally {
  await world.stop()
}
process.exit(failed > 0 ? 1 : 0) // a test that failed may have left a server
