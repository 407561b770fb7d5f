<?xml version="1.0"?>
<!-- One PubmedArticle (pubmed_230101.dtd and its neighbors) to the fields of a record. A labeled part of an abstract is a
     paragraph "LABEL: text". -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
  <xsl:import href="notation.xsl"/>
  <xsl:template match="/">
    <xsl:variable name="article" select="*/MedlineCitation/Article"/>
    <xsl:variable name="date" select="$article/Journal/JournalIssue/PubDate"/>
    <record>
      <field name="pmid"><xsl:value-of select="*/MedlineCitation/PMID"/></field>
      <field name="doi"><xsl:value-of select="(*/PubmedData/ArticleIdList/ArticleId[@IdType='doi'] | $article/ELocationID[@EIdType='doi'])[1]"/></field>
      <field name="title"><xsl:apply-templates select="$article/ArticleTitle"/></field>
      <field name="abstract">
        <xsl:for-each select="$article/Abstract/AbstractText">
          <xsl:if test="@Label and @Label != 'UNLABELLED'"><xsl:value-of select="concat(@Label, ': ')"/></xsl:if>
          <xsl:apply-templates/><xsl:text>&#x2029;</xsl:text>
        </xsl:for-each>
      </field>
      <field name="date"><xsl:value-of select="concat($date/Year, substring($date/MedlineDate, 1, 4 * not($date/Year)))"/></field>
      <field name="journal"><xsl:value-of select="$article/Journal/Title"/></field>
    </record>
  </xsl:template>
</xsl:stylesheet>
