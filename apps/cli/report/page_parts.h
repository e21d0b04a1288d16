// page_parts: the files of this folder that make a page, and Chart.js, as the build found them (cmake/embed.cmake).
#pragma once

#include <string_view>

namespace lowkey::cli {

extern const std::string_view kPageHtml, kPageCss, kPageJs;
extern const std::string_view kChartJs, kChartJsLicence;  // empty when the build found no Chart.js: tables only

}  // namespace lowkey::cli
