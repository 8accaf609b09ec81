// What both programs do: look a meter point up and read it, by oauth4webapi's own request.
import * as oauth from 'oauth4webapi'

export const loopback = { [oauth.allowInsecureRequests]: true }

export async function read(service, mpxn, token, options, headers = new Headers()) {
  const send = async (method, path, body) => {
    const sent = new Headers(headers)
    if (body) sent.set('content-type', 'application/json')
    const url = new URL(service + path)
    if (options.DPoP) {
      return oauth.protectedResourceRequest(token, method, url, sent, body, options)
    }
    sent.set('authorization', `Bearer ${token}`)
    return fetch(url, { method, headers: sent, body })
  }
  const found = await send('POST', '/v1/meter-points/lookup', JSON.stringify({ mpxn }))
  if (found.status !== 200) return { status: found.status, ...(await found.json()) }
  const { meter_point: name } = await found.json()
  const asked = 'srv=4.8.1&from=2025-03-29T00:00:00Z&to=2025-03-30T00:00:00Z'
  const answer = await send('GET', `/v1/meter-points/${name}/reads?${asked}`)
  return { status: answer.status, ...(await answer.json()) }
}
