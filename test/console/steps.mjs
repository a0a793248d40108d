// What tests of the playground do: in a page with one program, or in the region of one of two that are side by side.
const keyboard = (where) => (where.page?.() ?? where).keyboard

export async function set(where, code) {
  const editor = where.locator('.cm-content') // it is in a shadow root, which locators see through
  await editor.waitFor()
  await editor.click()
  await keyboard(where).press('ControlOrMeta+a')
  await keyboard(where).press('Backspace')
  await keyboard(where).insertText(code)
}

export async function run(where, code) {
  await set(where, code)
  await keyboard(where).press('ControlOrMeta+Enter')
}

export const last = (where) => where.getByRole('article').last()
export const ended = (where, state) => last(where).locator('.run-head .state', { hasText: new RegExp(`^${state}$`) }).waitFor()
export const prints = (where, text) => last(where).locator('.text', { hasText: text }).waitFor()

// session is the id of the session of the program that is open first.
export const session = (page) => page.evaluate(() => JSON.parse(sessionStorage.getItem('kaa.playground'))[0].session)
